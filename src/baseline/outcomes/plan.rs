//! Which columns say what was predicted and what came true, and what both are counted on.

use std::sync::Arc;

use super::super::build::{Roles, Watched};
use super::{ClassNames, OutcomeOptions};
use crate::event::Role;
use crate::summary::outcome::{
    BinaryShape, CLASSES_MAX, MulticlassShape, OutcomeShape, RegressionShape, Task,
};
use crate::summary::{Grid, Shape};

/// Why the outcomes of a table cannot be counted though the task was said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutcomeError {
    /// The score column that is to be measured is none.
    #[error("`{name}` is no score column; the score columns are {}", .scores.join(", "))]
    NoSuchScore {
        /// What was asked for.
        name: String,
        /// What there is.
        scores: Vec<String>,
    },
    /// There are several score columns for one score.
    #[error("there are several score columns: say which of {} is measured, with `score` in `[model.performance]`", .scores.join(", "))]
    WhichScore {
        /// What there is.
        scores: Vec<String>,
    },
    /// A column of numbers holds names.
    #[error("the column `{column}` holds names, and a {task} model needs numbers there")]
    Names {
        /// The watched column.
        column: String,
        /// The task.
        task: Task,
    },
    /// A column of classes holds many different numbers.
    #[error(
        "the column `{column}` holds many different numbers, not classes: if they are scores, name it as a score \
         column; if the model predicts numbers, its task is regression"
    )]
    Numbers {
        /// The watched column.
        column: String,
    },
    /// The classes cannot be told.
    #[error(
        "the label has {found} classes, and 2 to {CLASSES_MAX} can be told apart: name those that matter"
    )]
    Classes {
        /// How many there are.
        found: usize,
    },
    /// There are scores, but not one for each class, and no decisions.
    #[error(
        "the score columns {} are not one for each of the classes {}: name the classes as the score columns, or in \
         their order", .scores.join(", "), .classes.join(", ")
    )]
    ScoresOfClasses {
        /// The score columns.
        scores: Vec<String>,
        /// The classes.
        classes: Vec<String>,
    },
    /// The column of amounts is none.
    #[error("`{name}` is no numeric feature, so it cannot say what a case is worth")]
    Amount {
        /// What was asked for.
        name: String,
    },
}

/// Where the parts of an outcome are, as places among the watched columns, and what they are counted on.
#[derive(Debug)]
pub(in crate::baseline) struct OutcomePlan {
    pub(super) shape: OutcomeShape,
    pub(super) classes: ClassNames,
    pub(super) scores: Vec<(usize, Arc<str>)>,
    pub(super) decision: Option<usize>,
    pub(super) label: usize,
    pub(super) amount: Option<(usize, Arc<str>)>,
}

impl OutcomePlan {
    /// Which of the watched columns are read; `None` where the table does not hold what is needed, with a
    /// note that says what.
    ///
    /// # Errors
    /// [`OutcomeError`] when the options do not fit the table.
    pub(in crate::baseline) fn new(
        columns: &[Watched],
        roles: &Roles,
        options: &OutcomeOptions,
        notes: &mut Vec<String>,
    ) -> Result<Option<Self>, OutcomeError> {
        let table = Columns { columns, roles, task: options.task };
        let Some(label) = table.of_role(Role::Label) else {
            notes.push("there is no label column: performance has no reference in this baseline".to_owned());
            return Ok(None);
        };
        if table.of_role(Role::Prediction).is_none() && table.scores().is_empty() {
            let note = "there is neither a prediction nor a score column: performance has no reference in this \
                        baseline";
            notes.push(note.to_owned());
            return Ok(None);
        }
        match options.task {
            Task::Binary => binary(&table, options, label).map(Some),
            Task::Multiclass => multiclass(&table, options, label, notes).map(Some),
            Task::Regression => regression(&table, options, label),
            Task::Ranking => {
                notes.push("orders of queries have no reference in a baseline".to_owned());
                Ok(None)
            }
        }
    }
}

fn binary(table: &Columns<'_>, options: &OutcomeOptions, label: usize) -> Result<OutcomePlan, OutcomeError> {
    table.classes_in(label)?;
    let score = table.score(options)?;
    let decision = table.decision(score.is_some())?;
    let amount = table.amount(options)?;
    let edges = match score {
        Some(score) => table.grid(score)?.edges(),
        None => &[],
    };
    let shape = BinaryShape::new(edges, options.threshold, score.is_some(), amount.is_some());
    Ok(OutcomePlan {
        shape: OutcomeShape::Binary(shape),
        classes: ClassNames::new(Task::Binary, options.positive.clone()),
        scores: score.map(|score| table.named(score)).into_iter().collect(),
        decision,
        label,
        amount,
    })
}

fn multiclass(
    table: &Columns<'_>,
    options: &OutcomeOptions,
    label: usize,
    notes: &mut Vec<String>,
) -> Result<OutcomePlan, OutcomeError> {
    let classes =
        if options.classes.is_empty() { table.classes_of_label(label)? } else { options.classes.clone() };
    let scores = table.scores_of_classes(&classes, !options.classes.is_empty());
    let decision = table.decision(scores.is_some())?;
    if scores.is_none() && !table.scores().is_empty() {
        if decision.is_none() {
            return Err(OutcomeError::ScoresOfClasses { scores: table.score_names(), classes });
        }
        notes.push(format!(
            "the score columns {} are not one for each class: performance is measured on the decisions alone",
            table.score_names().join(", ")
        ));
    }
    let amount = table.amount(options)?;
    let shape = MulticlassShape::new(classes.clone(), scores.is_some(), amount.is_some())
        .ok_or(OutcomeError::Classes { found: classes.len() })?;
    Ok(OutcomePlan {
        shape: OutcomeShape::Multiclass(shape),
        classes: ClassNames::new(Task::Multiclass, classes),
        scores: scores.unwrap_or_default().into_iter().map(|score| table.named(score)).collect(),
        decision,
        label,
        amount,
    })
}

fn regression(
    table: &Columns<'_>,
    options: &OutcomeOptions,
    label: usize,
) -> Result<Option<OutcomePlan>, OutcomeError> {
    table.grid(label)?;
    let number = match (&options.score, table.of_role(Role::Prediction)) {
        (None, Some(prediction)) => Some(prediction),
        _ => table.score(options)?,
    };
    let Some(number) = number else { return Ok(None) };
    let grid = table.grid(number)?;
    let fixed = grid.fixed();
    Ok(Some(OutcomePlan {
        shape: OutcomeShape::Regression(RegressionShape::new(grid.edges(), fixed.centre, fixed.scale)),
        classes: ClassNames::new(Task::Regression, Vec::new()),
        scores: vec![table.named(number)],
        decision: None,
        label,
        amount: None,
    }))
}

/// The watched columns of a table.
struct Columns<'a> {
    columns: &'a [Watched],
    roles: &'a Roles,
    task: Task,
}

impl Columns<'_> {
    fn of_role(&self, role: Role) -> Option<usize> {
        self.columns.iter().position(|column| column.spec.role == role)
    }

    /// The places of the score columns, in the order of the roles.
    fn scores(&self) -> Vec<usize> {
        let all = || {
            let columns = self.columns.iter().enumerate();
            columns.filter(|(_, column)| column.spec.role == Role::Score).map(|(place, _)| place)
        };
        match self.roles.scores.as_slice() {
            [_] => all().collect(),
            names => {
                names.iter().filter_map(|name| all().find(|place| self.is_called(*place, name))).collect()
            }
        }
    }

    fn is_called(&self, place: usize, name: &str) -> bool {
        self.columns.get(place).is_some_and(|column| *column.spec.name == *name)
    }

    fn named(&self, place: usize) -> (usize, Arc<str>) {
        let name = self.columns.get(place).map(|column| Arc::clone(&column.spec.name));
        (place, name.unwrap_or_else(|| Arc::from("")))
    }

    fn name(&self, place: usize) -> String {
        self.named(place).1.to_string()
    }

    fn score_names(&self) -> Vec<String> {
        self.scores().into_iter().map(|place| self.name(place)).collect()
    }

    /// The one score column, or the one that is asked for.
    fn score(&self, options: &OutcomeOptions) -> Result<Option<usize>, OutcomeError> {
        let scores = self.scores();
        let Some(name) = &options.score else {
            return match scores.as_slice() {
                [] => Ok(None),
                [score] => Ok(Some(*score)),
                _ => Err(OutcomeError::WhichScore { scores: self.score_names() }),
            };
        };
        // A single score is watched as `score`, and may be asked for by the name it has in the table.
        let is_single = self.roles.scores.as_slice() == [name.clone()];
        let found = scores.iter().find(|place| is_single || self.is_called(**place, name));
        let unknown = || OutcomeError::NoSuchScore { name: name.clone(), scores: self.score_names() };
        found.copied().map(Some).ok_or_else(unknown)
    }

    /// The column of the decided class. Numbers that are no classes are left alone where there is a score.
    fn decision(&self, is_scored: bool) -> Result<Option<usize>, OutcomeError> {
        let Some(place) = self.of_role(Role::Prediction) else { return Ok(None) };
        match self.classes_in(place) {
            Ok(()) => Ok(Some(place)),
            Err(_) if is_scored => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Checks that a column can hold classes: few numbers or names, or numbers that are named as classes.
    fn classes_in(&self, place: usize) -> Result<(), OutcomeError> {
        match self.columns.get(place).map(|column| &column.shape) {
            Some(Shape::Numeric(_)) if self.task == Task::Binary => {
                Err(OutcomeError::Numbers { column: self.name(place) })
            }
            _ => Ok(()),
        }
    }

    fn grid(&self, place: usize) -> Result<&Grid, OutcomeError> {
        match self.columns.get(place).map(|column| &column.shape) {
            Some(Shape::Numeric(grid)) => Ok(grid),
            _ => Err(OutcomeError::Names { column: self.name(place), task: self.task }),
        }
    }

    /// The classes of the training labels, by name.
    fn classes_of_label(&self, label: usize) -> Result<Vec<String>, OutcomeError> {
        match self.columns.get(label).map(|column| &column.shape) {
            Some(Shape::Categorical(categories)) => {
                let found = categories.top.len() + categories.rare.len();
                if categories.open || !(2..=CLASSES_MAX).contains(&found) {
                    return Err(OutcomeError::Classes { found });
                }
                let mut names = categories.top.clone();
                names.sort();
                Ok(names)
            }
            _ => Err(OutcomeError::Numbers { column: self.name(label) }),
        }
    }

    /// The score of each class: the column of its name or, if the order of the classes was said, the one of its
    /// place.
    fn scores_of_classes(&self, classes: &[String], is_ordered: bool) -> Option<Vec<usize>> {
        let scores = self.scores();
        let by_name = classes.iter().map(|class| {
            let found = scores.iter().find(|place| self.is_called(**place, class));
            found.copied()
        });
        let numeric = |places: &Vec<usize>| places.iter().all(|place| self.grid(*place).is_ok());
        let by_name: Option<Vec<usize>> = by_name.collect();
        by_name.or_else(|| (is_ordered && scores.len() == classes.len()).then_some(scores)).filter(numeric)
    }

    fn amount(&self, options: &OutcomeOptions) -> Result<Option<(usize, Arc<str>)>, OutcomeError> {
        let Some(name) = &options.amount else { return Ok(None) };
        let is_meant = |column: &Watched| {
            *column.spec.name == **name
                && column.spec.role == Role::Feature
                && matches!(column.shape, Shape::Numeric(_))
        };
        let found = self.columns.iter().position(is_meant);
        found.map(|place| Some(self.named(place))).ok_or_else(|| OutcomeError::Amount { name: name.clone() })
    }
}

//! Is it the data or the world? What a change is taken to be, with the evidence.

use serde::{Deserialize, Serialize};

/// What a change is taken to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiagnosisKind {
    /// The data are broken: mend the pipeline, do not retrain on it.
    DataFault,
    /// The cases are others, but the model is as good on them.
    HarmlessShift,
    /// The cases are others, and the model is worse on them.
    HarmfulShift,
    /// Like cases come out differently: what the model learned no longer holds.
    ConceptChange,
    /// The evidence does not say.
    Unclear,
}

/// What a change is taken to be, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// What.
    pub kind: DiagnosisKind,
    /// Why: sentences with the numbers.
    pub evidence: Vec<String>,
}

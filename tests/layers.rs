//! Holds the direction of use between modules, and the purity of the core.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules of `src/lib.rs`, in the order they are declared there.
fn modules() -> Vec<String> {
    let lib = fs::read_to_string("src/lib.rs").expect("src/lib.rs");
    lib.lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("a source directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Lines of code with comments taken off: `//` starts one unless it is part of `://`.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(number, line)| {
        let comment = line.match_indices("//").find(|(at, _)| *at == 0 || line.as_bytes()[at - 1] != b':');
        (number + 1, comment.map_or(line, |(at, _)| &line[..at]))
    })
}

/// The modules that a line names: `crate::name`, and each first name of `crate::{a::b, c}`.
fn named(line: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for (at, _) in line.match_indices("crate::") {
        let rest = &line[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            None => found.push(word(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut start = true;
                for (index, c) in list.char_indices() {
                    if start && depth == 0 && (c.is_alphabetic() || c == '_') {
                        found.push(word(&list[index..]));
                        start = false;
                    }
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' => start = true,
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

/// Whether a line has these words, not as the end of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[test]
fn a_module_uses_only_those_declared_before_it() {
    let modules = modules();
    assert!(modules.len() > 10, "the list was read: {modules:?}");
    let mut wrong = Vec::new();
    for (place, module) in modules.iter().enumerate() {
        for file in rust_files(&Path::new("src").join(module)) {
            let text = fs::read_to_string(&file).expect("a source file");
            for (number, line) in code_lines(&text) {
                for used in named(line) {
                    let Some(used_place) = modules.iter().position(|name| *name == used) else { continue };
                    if used_place > place {
                        wrong.push(format!("{}:{number}: {module} uses {used}", file.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "modules use what is declared after them:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_of_the_library_is_in_the_list_and_the_picture() {
    let lib = fs::read_to_string("src/lib.rs").expect("src/lib.rs");
    let picture = lib.split("```").nth(1).expect("a picture");
    let modules = modules();
    for entry in fs::read_dir("src").expect("src") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if name != "lib" && name != "main" {
            assert!(modules.contains(&name), "src/{name} is not declared in lib.rs");
        }
    }
    for module in [
        "source", "event", "summary", "baseline", "window", "drift", "verdict", "incident", "notify",
        "store", "serve",
    ] {
        assert!(picture.contains(module), "the picture does not show {module}");
    }
}

#[test]
fn the_core_does_no_io_and_reads_no_clock() {
    const PURE: [&str; 11] = [
        "event",
        "summary",
        "baseline",
        "window",
        "drift",
        "sequential",
        "performance",
        "quality",
        "verdict",
        "incident",
        "monitor",
    ];
    const BANNED: [&str; 14] = [
        "std::fs",
        "std::net",
        "std::thread",
        "std::env",
        "SystemTime",
        "Instant::now",
        "Mutex",
        "RwLock",
        "tokio::",
        "rusqlite",
        "reqwest",
        "rdkafka",
        "File::open",
        "RandomState",
    ];
    let mut wrong = Vec::new();
    for module in PURE {
        for file in rust_files(&Path::new("src").join(module)) {
            // A baseline is read from training files and kept in one: those files are its edge.
            let path = file.to_string_lossy().replace('\\', "/");
            let edge = path.starts_with("src/baseline/read") || path.starts_with("src/baseline/file");
            if edge {
                continue;
            }
            let text = fs::read_to_string(&file).expect("a source file");
            let tests_at = text.find("#[cfg(test)]").unwrap_or(text.len());
            for (number, line) in code_lines(&text[..tests_at]) {
                for banned in BANNED.iter().filter(|banned| has_word(line, banned)) {
                    wrong.push(format!("{}:{number}: {banned}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "the core is not pure:\n{}", wrong.join("\n"));
}

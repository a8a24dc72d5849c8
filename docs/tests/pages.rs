//! What the pages say about files is so.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The chapters, the decisions, and the two pages at the root.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned(), "ARCHITECTURE.md".to_owned()];
    for folder in ["docs", "docs/adr"] {
        let entries = fs::read_dir(root().join(folder)).expect("the folder is there");
        let names = entries.map(|entry| entry.expect("it can be read").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        pages.extend(
            names.filter(|name| name.ends_with(".md")).map(|name| format!("{folder}/{name}")),
        );
    }
    pages
}

/// What stands between `(` and `)` behind a `]`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn the_readme_shows_the_first_program_as_it_is() {
    let first = page("gesta/examples/first.rs");
    assert!(page("README.md").contains(&format!("```rust\n{first}```\n")));
}

#[test]
fn every_link_leads_to_a_file() {
    for name in pages() {
        let folder = root().join(&name);
        let folder = folder.parent().expect("a page is in a folder");
        for link in links(&page(&name)).filter(|link| !link.contains("://")) {
            let file = link.split('#').next().unwrap_or(link);
            assert!(folder.join(file).exists(), "{name} links to {link}, which is not there");
        }
    }
}

#[test]
fn the_summary_names_every_page() {
    let summary = page("docs/SUMMARY.md");
    for name in pages().iter().filter_map(|name| name.strip_prefix("docs/")) {
        assert!(name == "SUMMARY.md" || summary.contains(name), "the summary lacks {name}");
    }
}

#[test]
fn the_architecture_names_files_that_are_there() {
    let architecture = page("ARCHITECTURE.md");
    assert!(architecture.lines().count() < 200);
    let quoted = architecture.split('`').skip(1).step_by(2);
    let files: Vec<_> = quoted.filter(|text| text.ends_with(".rs")).collect();
    assert!(files.len() > 20, "a map names its files");
    for file in files {
        assert!(root().join(file).exists(), "ARCHITECTURE.md names {file}, which is not there");
    }
}

#[test]
fn every_chapter_is_compiled() {
    let book = page("docs/src/lib.rs");
    for name in pages().iter().filter_map(|name| name.strip_prefix("docs/")) {
        let chapter = name != "SUMMARY.md" && !name.starts_with("adr/");
        assert!(!chapter || book.contains(name), "the book lacks {name}");
    }
}

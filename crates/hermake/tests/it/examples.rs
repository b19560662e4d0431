//! The examples of this repository, as a reader would run them.

use std::fs;
use std::path::Path;

use crate::space::{Ran, Space};

fn example(name: &str) -> Space {
    let space = Space::new("");
    fs::remove_file(space.path("tasks/all.toml")).unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples")
        .join(name);
    copy(&from, &space.path(""));
    space
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for item in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            if item.file_name() != "build" {
                copy(&item.path(), &target);
            }
        } else {
            fs::copy(item.path(), target).unwrap();
        }
    }
}

fn make(space: &Space, args: &[&str]) -> Vec<String> {
    let before = space.index().len();
    let hermake = concat!("HERMAKE=", env!("CARGO_BIN_EXE_hermake"));
    let ran = Ran::of(space.make(args).arg(hermake).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let mut tasks = space.index()[before..].to_vec();
    tasks.sort();
    tasks
}

#[test]
fn a_c_program() {
    let space = example("c-program");
    assert_eq!(make(&space, &["-j2"]), ["greet-o", "hello", "main-o"]);
    assert_eq!(make(&space, &["test"]), ["test"]);
    assert!(make(&space, &["test"]).is_empty());
    // a remark changes no object file: nothing is linked or tested again
    let text = space.read("src/main.c");
    space.write(
        "src/main.c",
        &text.replace("int main", "/* the beginning */ int main"),
    );
    assert_eq!(make(&space, &["test"]), ["main-o"]);
    assert_eq!(make(&space, &["CFLAGS=-O0"])[..1], ["greet-o"]);
    assert!(make(&space, &[]).is_empty(), "back again");
    assert!(
        space
            .make(&["clean", concat!("HERMAKE=", env!("CARGO_BIN_EXE_hermake"))])
            .status()
            .unwrap()
            .success()
    );
    assert!(
        make(&space, &["test"]).is_empty(),
        "all of it is in the store"
    );
}

#[test]
fn a_document() {
    let space = example("document");
    assert_eq!(make(&space, &[]), ["book", "chapter-one", "chapter-two"]);
    assert!(space.read("build/book.html").contains("<h2>The end</h2>"));
    let list = space.read("book.toml");
    space.write(
        "book.toml",
        &format!("{list}\n[[chapter]]\nname = \"zero\"\n"),
    );
    space.write("chapters/zero.toml", "title = \"After the end\"\n");
    space.write("chapters/zero.txt", "Nothing more.\n");
    assert_eq!(make(&space, &[]), ["book", "chapter-zero"]);
}

#[test]
fn what_the_manual_shows_works() {
    let text = include_str!("../../../../docs/make.md");
    let block = |kind: &str| {
        let start = format!("```{kind}\n");
        let rest = text.split(&start).nth(1).unwrap();
        rest.split("```").next().unwrap()
    };
    let space = Space::new("");
    for file in ["hermake.toml", "tasks/all.toml"] {
        fs::remove_file(space.path(file)).unwrap();
    }
    space.write("tasks/hello.toml", block("toml"));
    let hermake = format!("$(shell {} mk)", env!("CARGO_BIN_EXE_hermake"));
    space.write(
        "Makefile",
        &block("make").replace("$(shell hermake mk)", &hermake),
    );
    space.write(
        "hello.c",
        "#include <stdio.h>\nint main(void) { return puts(\"hello\") < 0; }\n",
    );
    assert_eq!(make(&space, &[]), ["hello"]);
    let said = space.command("build/hello").output().unwrap();
    assert_eq!(said.stdout, b"hello\n");
    assert!(make(&space, &["build/hello"]).is_empty());
}

//! The shell blocks of the documents, and their marks.

use std::fs;
use std::path::Path;

/// What the comment before a block says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is followed, as the story of this name tells.
    Try(String),
    /// It is not, for a reason.
    NotTried,
    /// There is no comment.
    None,
}

/// A fenced block of shell commands.
#[derive(Debug)]
pub(crate) struct Block {
    /// Document and line.
    pub(crate) place: String,
    pub(crate) mark: Mark,
    pub(crate) text: String,
}

/// The shell blocks of README.md, and the marked ones of docs.
pub(crate) fn all() -> Vec<Block> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut blocks = blocks_of("README.md", &fs::read_to_string(root.join("README.md")).unwrap());
    let mut documents: Vec<_> =
        fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.sort();
    for path in documents {
        let name = format!("docs/{}", path.file_name().unwrap().to_string_lossy());
        let marked = blocks_of(&name, &fs::read_to_string(&path).unwrap());
        blocks.extend(marked.into_iter().filter(|block| block.mark != Mark::None));
    }
    blocks
}

fn blocks_of(name: &str, text: &str) -> Vec<Block> {
    let (mut blocks, mut before, mut inside) = (Vec::<Block>::new(), "", false);
    for (number, line) in text.lines().enumerate() {
        if inside && line == "```" {
            inside = false;
        } else if inside {
            let block = blocks.last_mut().unwrap();
            block.text.push_str(line);
            block.text.push('\n');
        } else if ["```sh", "```bash", "```shell", "```console"].contains(&line) {
            let place = format!("{name}:{}", number + 1);
            blocks.push(Block { place, mark: mark(before), text: String::new() });
            inside = true;
        }
        if !line.trim().is_empty() {
            before = line;
        }
    }
    blocks
}

fn mark(comment: &str) -> Mark {
    let inside = comment.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
    let Some((word, rest)) = inside.and_then(|inside| inside.split_once(": ")) else {
        return Mark::None;
    };
    match word {
        "try" => Mark::Try(rest.to_owned()),
        "not tried" => Mark::NotTried,
        _ => Mark::None,
    }
}

#[test]
fn every_shell_block_of_the_readme_says_whether_it_is_tried() {
    let blocks = all();
    assert!(blocks.iter().any(|block| matches!(block.mark, Mark::Try(_))));
    for Block { place, mark, text } in blocks {
        assert!(
            mark != Mark::None,
            "{place}: put <!-- try: NAME --> or <!-- not tried: WHY --> before it:\n{text}"
        );
    }
}

#[test]
fn marks_are_read_from_the_line_before_a_block() {
    let text = "<!-- try: a -->\n```sh\nb\nc\n```\n```sh\nd\n```\n\n<!-- not tried: e -->\n\n\
        ```sh\n```\n```json\n{}\n```\n";
    let blocks = blocks_of("README.md", text);
    let marks: Vec<&Mark> = blocks.iter().map(|block| &block.mark).collect();
    assert_eq!(marks, [&Mark::Try("a".to_owned()), &Mark::None, &Mark::NotTried]);
    assert_eq!((blocks[0].text.as_str(), blocks[0].place.as_str()), ("b\nc\n", "README.md:2"));
}

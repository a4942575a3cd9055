//! The README's quick start, from its own text, through the real psql.
//!
//! Between `<!-- quick start -->` and `<!-- end of quick start -->` every ```sql block is typed into one psql session, and every
//! ```text block is what psql prints for the block above it.

use millpond_sqltest::{Psql, Server, diff, repository};

#[derive(Debug, PartialEq)]
enum Block {
    Sql(String),
    Text(String),
}

#[test]
fn quick_start_does_what_the_readme_says() {
    let readme = std::fs::read_to_string(repository().join("README.md")).expect("the clone has a README");
    let blocks = blocks(&readme);
    assert!(
        blocks.iter().filter(|block| matches!(block, Block::Text(_))).count() >= 2,
        "the quick start shows what psql prints: {blocks:?}"
    );

    // A line of its own between the outputs of the blocks tells them apart.
    let mut script = String::new();
    for block in &blocks {
        if let Block::Sql(sql) = block {
            script.push_str(sql);
            script.push_str("\n\\echo ==block==\n");
        }
    }
    let server = Server::start(&[]).expect("the server starts");
    let printed = Psql::new(&server).option("-q").script(&script).expect("the quick start runs");
    let mut printed = printed.split("==block==\n");

    let mut last = "";
    for block in &blocks {
        match block {
            Block::Sql(_) => last = printed.next().expect("one output for each block"),
            Block::Text(expected) => {
                let difference = diff(expected, last);
                assert!(difference.is_empty(), "the README differs from what psql prints:\n{difference}\nall of it:\n{last}");
            }
        }
    }
}

fn blocks(readme: &str) -> Vec<Block> {
    let (_, rest) = readme.split_once("<!-- quick start -->").expect("the quick start begins");
    let (section, _) = rest.split_once("<!-- end of quick start -->").expect("the quick start ends");
    let mut blocks = Vec::new();
    let mut lines = section.lines();
    while let Some(line) = lines.next() {
        let make: fn(String) -> Block = match line.trim() {
            "```sql" => Block::Sql,
            "```text" => Block::Text,
            _ => continue,
        };
        let body: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "```").collect();
        blocks.push(make(body.join("\n")));
    }
    blocks
}

#[test]
fn blocks_are_found_in_order() {
    let text = "x\n<!-- quick start -->\n```sql\nSELECT 1;\n```\nthen\n```text\n1\n```\n```sh\nno\n```\n<!-- end of quick start -->\n```sql\nno\n```";
    assert_eq!(blocks(text), vec![Block::Sql("SELECT 1;".to_string()), Block::Text("1".to_string())]);
}

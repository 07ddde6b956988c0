//! Files that are no histories, or not whole: the error names the line.

const FIRST: &str = "{\"history\":1}\n";
const SEND: &str = r#"{"o":"send","k":"invoke","i":1,"t":5,"w":"p","tp":"t-0","v":9}"#;

fn error(lines: &[&str]) -> String {
    let file = format!("{FIRST}{}\n", lines.join("\n"));
    match history::read(file.as_bytes()) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("no error: {lines:?}"),
    }
}

#[test]
fn the_example_of_the_documentation_is_a_clean_history() {
    let page = include_str!("../../../docs/history.md");
    let example = page
        .split("```json\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let report = history::read(example.as_bytes()).unwrap().check(&history::Demands {
        acknowledged_per_fault_min: 1,
        ..history::Demands::default()
    });
    assert_eq!(report.verdict, history::Verdict::Clean, "{report}");
    assert_eq!(report.run["seed"], 42);
    assert_eq!(
        (report.counts.lines, report.counts.scans, report.faults.len()),
        (13, 1, 1)
    );
}

#[test]
fn damaged_lines_are_named() {
    for (lines, expected) in [
        (vec![SEND, "{\"o\":\"send\""], "line 3: not a line of a history"),
        (vec!["hello"], "line 2: not a line of a history"),
        (vec![SEND, ""], "line 3: not a line of a history"),
        (
            vec![r#"{"o":"gossip","k":"ok","t":1,"w":"p"}"#],
            "line 2: not a line of a history: unknown variant `gossip`",
        ),
        (
            vec![r#"{"o":"poll","k":"fail","t":1,"w":"p"}"#],
            r#"line 2: "o":"poll" has no line "k":"fail""#,
        ),
        (
            vec![r#"{"o":"poll","k":"ok","t":1,"w":"p","r":[]}"#],
            r#"line 2: a line "o":"poll", "k":"ok" needs "tp""#,
        ),
        (
            vec![r#"{"o":"poll","k":"ok","t":1,"w":"p","tp":"t-0","r":[[1]]}"#],
            "line 2: not a line of a history",
        ),
        (
            vec![r#"{"o":"poll","k":"ok","t":1,"w":"p","tp":"t-0","r":[[-4,1]]}"#],
            "an offset is negative",
        ),
        (
            vec![SEND, r#"{"o":"send","k":"ok","i":1,"t":6,"w":"p","off":-1}"#],
            r#"line 3: "off" is -1, less than 0"#,
        ),
        (
            vec![SEND, r#"{"o":"send","k":"ok","i":2,"t":6,"w":"p","off":1}"#],
            "line 3: operation 2 ends, and no such",
        ),
        (
            vec![SEND, SEND],
            "line 3: value 9 is sent a second time, first on line 2",
        ),
        (
            vec![SEND, &SEND.replace("\"v\":9", "\"v\":10")],
            "line 3: operation 1 begins a second time",
        ),
        (
            vec![SEND, r#"{"o":"send","k":"ok","i":1,"t":6,"w":"p","tp":"t-1","off":1}"#],
            "line 3: an operation named partition t-0 when it began and t-1 when it ended",
        ),
    ] {
        let said = error(&lines);
        assert!(said.contains(expected), "{said}\n  instead of {expected}");
    }
}

#[test]
fn a_first_line_that_is_none_is_refused() {
    for (file, expected) in [
        ("", "line 1 is not the first of a history"),
        ("{\"history\":2}\n", "a version that this program does not know"),
        (SEND, "line 1 is not the first"),
        ("{\"histor", "line 1 is not the first"),
    ] {
        let said = history::read(file.as_bytes()).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn an_unfinished_last_line_is_left_out_and_noted() {
    let file = format!("{FIRST}{SEND}\n{{\"o\":\"send\",\"k\"");
    let history = history::read(file.as_bytes()).unwrap();
    assert_eq!(history.line(), 2);
    assert!(
        history.notes[0].contains("line 3, the last, is not finished"),
        "{:?}",
        history.notes
    );
}

#[test]
fn bytes_that_are_no_text_are_an_error() {
    let mut file = FIRST.as_bytes().to_vec();
    file.extend(b"{\"o\":\"\xff\"}\n");
    let said = history::read(&file[..]).unwrap_err().to_string();
    assert!(
        said.contains("line 2: not a line of a history: invalid utf-8"),
        "{said}"
    );
}

use crate::LINE_BYTES_MAX;
use crate::collected::{History, PushError};
use crate::header::Header;
use crate::line::{LineError, parse};
use std::io::{BufRead, Read as _};

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("line {line}: {source}")]
    Read { line: u64, source: std::io::Error },
    #[error("line {line} has more than {LINE_BYTES_MAX} bytes")]
    TooLong { line: u64 },
    #[error("line 1 is not the first of a history, {{\"history\":1,…}}: {0}")]
    Header(String),
    #[error("line {line}: {source}")]
    Line { line: u64, source: LineError },
    #[error("line {line}: {source}")]
    Contradiction { line: u64, source: PushError },
}

/// Reads a whole history (`docs/history.md`). An unfinished last line is left out and noted.
///
/// # Errors
/// [`HistoryError`], which names the line.
pub fn read(mut from: impl BufRead) -> Result<History, HistoryError> {
    let mut bytes = Vec::new();
    let mut line = 1;
    if !next_line(&mut from, &mut bytes, line)? {
        return Err(HistoryError::Header("it is not finished".into()));
    }
    let header: Header = serde_json::from_slice(&bytes).map_err(|error| HistoryError::Header(error.to_string()))?;
    if !header.is_known() {
        return Err(HistoryError::Header("a version that this program does not know".into()));
    }
    let mut history = History::new(header);
    loop {
        line += 1;
        if !next_line(&mut from, &mut bytes, line)? {
            break;
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| HistoryError::Line {
            line,
            source: LineError::Json(error.to_string()),
        })?;
        let event = parse(text).map_err(|source| HistoryError::Line { line, source })?;
        history
            .push(&event)
            .map_err(|source| HistoryError::Contradiction { line, source })?;
    }
    if !bytes.is_empty() {
        history.notes.push(format!(
            "line {line}, the last, is not finished and was left out: the load was stopped while it wrote"
        ));
    }
    Ok(history)
}

/// The next line without its end; false at the end of the file, with what is there of an unfinished line.
fn next_line(from: &mut impl BufRead, bytes: &mut Vec<u8>, line: u64) -> Result<bool, HistoryError> {
    bytes.clear();
    from.take(LINE_BYTES_MAX as u64 + 1)
        .read_until(b'\n', bytes)
        .map_err(|source| HistoryError::Read { line, source })?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        return Ok(true);
    }
    if bytes.len() > LINE_BYTES_MAX {
        return Err(HistoryError::TooLong { line });
    }
    Ok(false)
}

//! The hand-kept table: which items are simulated, which are the real ones, which are loud, which are absent.
//!
//! Owns its syntax, and the part of SUPPORT.md that is made from it. Must not know the items. Invariant: each item has
//! exactly one state, that of the longest name in the table that it stands under.
//!
//! A line is `names | state | remark`, where a name covers itself and what is below it; `name{text}` covers only those of its
//! entries whose signature has the text.

use super::entries::Entry;

const PATH: &str = "compat-tests/ledger/notes.txt";
const STATES: [&str; 6] = ["simulated", "real", "accepted", "passthrough", "loud", "absent"];
const BEGIN: &str = "<!-- made by `parity ledger write` from compat-tests/ledger/notes.txt -->";
const END: &str = "<!-- end -->";

struct Row {
    names: Vec<String>,
    state: String,
    remark: String,
}

/// The table.
pub(crate) struct Notes {
    rows: Vec<Row>,
}

fn covers(pattern: &str, item: &Entry) -> bool {
    let (name, text) = match pattern.strip_suffix('}').and_then(|pattern| pattern.split_once('{')) {
        Some((name, text)) => (name, text),
        None => (pattern, ""),
    };
    let says = |what: &str| what.contains(&format!("::{text} ")) || what.contains(&format!("::{text}<"));
    if !text.is_empty() && (item.name != name || !says(&item.what)) {
        return false;
    }
    item.name
        .strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::") || rest.starts_with('.'))
}

impl Notes {
    pub(crate) fn read() -> Result<Notes, String> {
        let text = std::fs::read_to_string(PATH).map_err(|error| format!("{PATH}: {error}"))?;
        let mut rows = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let parts: Vec<&str> = line.splitn(3, '|').map(str::trim).collect();
            let [names, state, remark] = parts.as_slice() else {
                return Err(format!("{PATH}:{number}: expected `names | state | remark`"));
            };
            if !STATES.contains(state) {
                return Err(format!("{PATH}:{number}: {state:?} is none of {}", STATES.join(", ")));
            }
            let names = names.split(' ').map(str::to_owned).collect();
            rows.push(Row { names, state: (*state).to_owned(), remark: (*remark).to_owned() });
        }
        Ok(Notes { rows })
    }

    fn row(&self, item: &Entry) -> Option<usize> {
        let names =
            self.rows.iter().enumerate().flat_map(|(row, own)| own.names.iter().map(move |name| (row, name)));
        let covering = names.filter(|(_, name)| covers(name, item));
        covering.max_by_key(|(_, name)| name.len()).map(|(row, _)| row)
    }

    /// The state of an item.
    pub(crate) fn state(&self, item: &Entry) -> Option<&str> {
        self.row(item).map(|row| self.rows[row].state.as_str())
    }

    /// SUPPORT.md with its table of tokio's items made anew.
    pub(crate) fn support(&self, text: &str, stable: &[Entry], unstable: &[Entry]) -> Result<String, String> {
        let mut counts = vec![0usize; self.rows.len()];
        for entry in stable.iter().chain(unstable) {
            match self.row(entry) {
                Some(row) => counts[row] += 1,
                None => return Err(format!("{PATH} has no line for {} ({})", entry.name, entry.what)),
            }
        }
        let mut table = String::from("| item | state | entries | remark |\n|---|---|---|---|\n");
        for (row, count) in self.rows.iter().zip(&counts) {
            if *count == 0 {
                return Err(format!("{PATH}: tokio has nothing called {}", row.names.join(", ")));
            }
            let names: Vec<String> = row.names.iter().map(|name| format!("`{name}`")).collect();
            let line = format!("| {} | {} | {count} | {} |", names.join(", "), row.state, row.remark);
            table.push_str(line.trim_end());
            table.push('\n');
        }
        let outside = |marker: &str| format!("SUPPORT.md has no line {marker:?}");
        let (head, rest) = text.split_once(BEGIN).ok_or_else(|| outside(BEGIN))?;
        let (_, tail) = rest.split_once(END).ok_or_else(|| outside(END))?;
        Ok(format!("{head}{BEGIN}\n{table}{END}{tail}"))
    }
}

//! What workers have told when they were asked. A worker that stands still does not answer, and a person does not wait for
//! it; what is missing then is said, so that nobody takes an empty list for an empty table.

/// A list, and what it lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed<T> {
    /// What was told.
    pub entries: Vec<T>,
    /// Why that is not all, if it is not: `worker 1 does not answer`.
    pub lack: Option<String>,
}

impl<T> Listed<T> {
    /// All there is.
    pub fn whole(entries: Vec<T>) -> Self {
        Listed {
            entries,
            lack: None,
        }
    }

    /// The same list in other words.
    pub fn with<U>(self, entries: impl FnOnce(Vec<T>) -> Vec<U>) -> Listed<U> {
        Listed {
            entries: entries(self.entries),
            lack: self.lack,
        }
    }

    /// What is said below a list that is not whole.
    pub fn note(&self) -> Option<String> {
        let lack = self.lack.as_ref()?;
        Some(format!("the list is not complete: {lack}"))
    }

    /// The entries if they are all; otherwise what is missing. For who cannot be told in between.
    pub fn all(self) -> Result<Vec<T>, String> {
        match self.note() {
            None => Ok(self.entries),
            Some(note) => Err(note),
        }
    }
}

/// `worker 1 does not answer`, `workers 1 and 3 do not answer`; none if all do.
pub(crate) fn silence(workers: &[u16]) -> Option<String> {
    let names: Vec<String> = workers.iter().map(u16::to_string).collect();
    match names.as_slice() {
        [] => None,
        [one] => Some(format!("worker {one} does not answer")),
        some => Some(format!("workers {} do not answer", some.join(" and "))),
    }
}

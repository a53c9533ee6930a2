//! The options that the programs of this crate have in common.

/// What was asked for.
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) instructions: bool,
    pub(crate) json: Option<String>,
    pub(crate) only: Option<String>,
    runs: Option<usize>,
    /// States that expire.
    pub(crate) states: Option<usize>,
}

impl Options {
    /// True if rows of this name are wanted.
    pub(crate) fn wants(&self, what: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|word| what.contains(word.as_str()))
    }

    /// How often each is measured.
    pub(crate) fn runs(&self) -> usize {
        let runs = self.runs.unwrap_or(if self.quick { 3 } else { 5 });
        runs.max(1)
    }
}

/// Reads the command line.
pub(crate) fn options(args: &[String]) -> Result<Options, String> {
    let mut options = Options {
        quick: false,
        instructions: true,
        json: None,
        only: None,
        runs: None,
        states: None,
    };
    let number = |arg: Option<String>| arg.and_then(|n| n.parse().ok());
    let mut args = args.iter().cloned();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => options.quick = true,
            "--no-instructions" => options.instructions = false,
            "--json" => options.json = Some(args.next().ok_or("--json needs a file")?),
            "--only" => options.only = Some(args.next().ok_or("--only needs a word")?),
            "--runs" => options.runs = Some(number(args.next()).ok_or("--runs needs a number")?),
            "--states" => {
                options.states = Some(number(args.next()).ok_or("--states needs a number")?);
            }
            other => return Err(format!("unknown argument '{other}'")),
        }
    }
    Ok(options)
}

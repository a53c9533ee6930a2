//! Smallest, middle and largest of several runs.

use serde::{Deserialize, Serialize};

/// What several runs of the same thing came to.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |n: usize| values.get(n).copied().unwrap_or(0.0);
        Spread {
            min: at(0),
            median: at(values.len() / 2),
            max: at(values.len().saturating_sub(1)),
        }
    }

    /// `median [min..max]` with so many digits behind the point.
    #[allow(dead_code, reason = "the compiler's bench prints its own")]
    pub(crate) fn text(&self, digits: usize) -> String {
        let Spread { min, median, max } = self;
        format!("{median:.digits$} [{min:.digits$}..{max:.digits$}]")
    }
}

/// The value below which a share of the sorted `values` lies.
#[allow(dead_code, reason = "the compiler's bench has no use for it")]
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted
        .get(at.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(0.0)
}

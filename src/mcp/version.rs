//! The protocol's versions, and what each has.

/// A version that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// 2024-11-05
    V2024_11_05,
    /// 2025-03-26
    V2025_03_26,
    /// 2025-06-18
    V2025_06_18,
    /// 2025-11-25
    V2025_11_25,
    /// 2026-07-28, without sessions
    V2026_07_28,
}

impl Version {
    /// All versions, the newest first.
    pub const ALL: [Version; 5] = [
        Version::V2026_07_28,
        Version::V2025_11_25,
        Version::V2025_06_18,
        Version::V2025_03_26,
        Version::V2024_11_05,
    ];
    /// The newest version that begins with `initialize`.
    pub const NEWEST_WITH_SESSIONS: Version = Version::V2025_11_25;

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Version::V2024_11_05 => "2024-11-05",
            Version::V2025_03_26 => "2025-03-26",
            Version::V2025_06_18 => "2025-06-18",
            Version::V2025_11_25 => "2025-11-25",
            Version::V2026_07_28 => "2026-07-28",
        }
    }

    /// The version of this name.
    pub fn named(name: &str) -> Option<Version> {
        Version::ALL.into_iter().find(|version| version.name() == name)
    }

    /// The version of this name, if it begins with `initialize`.
    pub fn with_sessions(name: &str) -> Option<Version> {
        Version::named(name).filter(|version| !version.is_stateless())
    }

    /// Each request stands alone.
    pub fn is_stateless(self) -> bool {
        self >= Version::V2026_07_28
    }

    /// Messages may come in arrays.
    pub fn has_batches(self) -> bool {
        self == Version::V2025_03_26
    }

    /// Tools have annotations, and progress has words.
    pub fn has_annotations(self) -> bool {
        self >= Version::V2025_03_26
    }

    /// Tools have titles; results have structured content and links to resources.
    pub fn has_structured_content(self) -> bool {
        self >= Version::V2025_06_18
    }
}

//! What a product's devices may prove themselves with.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a product's devices may prove themselves with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProofPolicy {
    /// An activation code, and the API key it was given for that.
    Code,
    /// A signature. A code lets a device in to enrol its key, for nothing
    /// else; API keys are neither made nor accepted.
    Signed,
    /// Whichever the device can; one that has signed once must sign.
    #[default]
    Either,
}

impl ProofPolicy {
    /// All policies, as a command line offers them.
    pub const ALL: [Self; 3] = [Self::Code, Self::Signed, Self::Either];

    /// The name in configuration and commands.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Signed => "signed",
            Self::Either => "either",
        }
    }
}

impl fmt::Display for ProofPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ProofPolicy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| "use code, signed or either".to_owned())
    }
}

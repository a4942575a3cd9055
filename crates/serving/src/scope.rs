//! How much of a service's state a statement is answered from.

use std::fmt;
use std::str::FromStr;

/// Which rows of tables, and of the system tables about the service's work, a statement reads. Written as the setting `local_partitions`
/// has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Scope {
    /// All, wherever they are. Written as nothing.
    #[default]
    Everywhere,
    /// What is here, without asking other members. Written `all`.
    Here,
    /// Of each table these partitions, which must be here. Written `0,2,5`.
    Partitions(Vec<u32>),
}

impl FromStr for Scope {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Scope, Self::Err> {
        match text.trim() {
            "" => Ok(Scope::Everywhere),
            all if all.eq_ignore_ascii_case("all") => Ok(Scope::Here),
            listed => listed.split(',').map(|number| number.trim().parse()).collect::<Result<_, _>>().map(Scope::Partitions),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Everywhere => Ok(()),
            Scope::Here => f.write_str("all"),
            Scope::Partitions(listed) => {
                let listed: Vec<String> = listed.iter().map(u32::to_string).collect();
                f.write_str(&listed.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        for (text, scope) in [("", Scope::Everywhere), ("all", Scope::Here), ("3,0", Scope::Partitions(vec![3, 0]))] {
            assert_eq!(text.parse(), Ok(scope.clone()));
            assert_eq!(scope.to_string(), text);
        }
        assert_eq!(" 1, 2 ".parse(), Ok(Scope::Partitions(vec![1, 2])));
        for wrong in ["1,", "none", "-1", "1;2"] {
            assert!(wrong.parse::<Scope>().is_err(), "{wrong}");
        }
    }
}

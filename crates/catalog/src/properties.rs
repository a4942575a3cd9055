//! The WITH clause, checked: what each property may be and what it defaults to.

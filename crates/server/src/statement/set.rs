//! SET, RESET, SHOW of settings, DISCARD.

use super::{Answer, Rows, Tag, table};
use crate::error::Result;
use crate::session::{Session, Transaction};

/// `local` is SET LOCAL and SET TRANSACTION: until the end of the transaction.
pub fn set(session: &mut Session, name: &str, value: Option<&str>, local: bool) -> Result<Answer> {
    if local && matches!(session.transaction, Transaction::None) {
        session.settings.clone().set(name, value)?;
        let statement = if name.starts_with("transaction_") { "SET TRANSACTION" } else { "SET LOCAL" };
        session.warning("25P01", format!("{statement} can only be used in transaction blocks"));
        return Ok(Answer::Done("SET".to_string()));
    }
    if local {
        session.settings_kept.get_or_insert_with(|| session.settings.clone());
    }
    let report = put(session, name, value, !local)?;
    session.reports.extend(report);
    Ok(Answer::Done("SET".to_string()))
}

/// Sets it now and, when it is `kept`, behind the COMMIT as well.
fn put(session: &mut Session, name: &str, value: Option<&str>, kept: bool) -> Result<Option<&'static str>> {
    if let Some(settings) = session.settings_kept.as_mut().filter(|_| kept) {
        settings.set(name, value)?;
    }
    session.settings.set(name, value)
}

pub fn reset(session: &mut Session, name: Option<&str>) -> Result<Answer> {
    match name {
        Some(name) => {
            let report = put(session, name, None, true)?;
            session.reports.extend(report);
        }
        None => {
            if let Some(kept) = &mut session.settings_kept {
                kept.reset_all();
            }
            let reports = session.settings.reset_all();
            session.reports.extend(reports);
        }
    }
    Ok(Answer::Done("RESET".to_string()))
}

pub fn discard(session: &mut Session) -> Result<Answer> {
    session.outside_transaction("DISCARD ALL")?;
    session.cursors.clear();
    session.prepared.clear();
    reset(session, None)?;
    Ok(Answer::Done("DISCARD ALL".to_string()))
}

pub fn show(session: &Session, name: &str) -> Result<Rows> {
    let value = session.settings.get(name)?.to_string();
    Ok(Rows::ready(table::of([name], vec![[Some(value)]])?, Tag::Plain("SHOW")))
}

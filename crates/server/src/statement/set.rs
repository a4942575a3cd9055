//! SET, RESET, SHOW of settings, DISCARD.

use super::{Answer, Rows, Tag, table};
use crate::error::Result;
use crate::session::Session;

pub fn set(session: &mut Session, name: &str, value: Option<&str>) -> Result<Answer> {
    let report = session.settings.set(name, value)?;
    session.reports.extend(report);
    Ok(Answer::Done("SET".to_string()))
}

pub fn reset(session: &mut Session, name: Option<&str>) -> Result<Answer> {
    match name {
        Some(name) => {
            let report = session.settings.set(name, None)?;
            session.reports.extend(report);
        }
        None => {
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

//! The subscription file.

use crate::{Environment, Result};
use ailurus_types::MailboxName;

/// The user's subscriptions.
pub(crate) struct Subscriptions<'e> {
    environment: &'e Environment,
}

impl<'e> Subscriptions<'e> {
    pub(crate) fn new(environment: &'e Environment) -> Self {
        Self { environment }
    }
    pub(crate) fn add(&self, name: &MailboxName) -> Result<()> {
        let _ = (self.environment, name);
        Ok(())
    }
    pub(crate) fn remove(&self, name: &MailboxName) -> Result<()> {
        let _ = (self.environment, name);
        Ok(())
    }
}

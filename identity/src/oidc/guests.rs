//! Who may come in, of all the people whom the provider knows.

use super::{Failed, GOOGLE, id_token::Verified};

/// Google's own domains: it is the authority on these addresses without a Workspace.
const GOOGLE_MAIL: [&str; 2] = ["gmail.com", "googlemail.com"];

/// Rules about verified e-mail addresses. Without any, everybody whom the provider lets sign in may come in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestList {
    domains: Vec<String>,
    emails: Vec<String>,
}

impl GuestList {
    /// Whoever has an address in one of `domains`, or one of `emails`; both in any case of letters.
    #[must_use]
    pub fn new<T: AsRef<str>>(domains: &[T], emails: &[T]) -> Self {
        let lower = |texts: &[T]| texts.iter().map(|text| text.as_ref().to_lowercase()).collect();
        Self { domains: lower(domains), emails: lower(emails) }
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty() && self.emails.is_empty()
    }

    /// Whether this person may come in.
    ///
    /// An address counts only where the provider verified it. With Google, an address in a domain counts only where Google
    /// is the authority on it: the account belongs to a Workspace of an allowed domain (`hd`), or it is a Gmail address.
    /// Anybody may have made a Google account with an address that was theirs once.
    ///
    /// # Errors
    /// [`Failed::Unverified`], [`Failed::NotInvited`].
    pub fn admit(&self, person: &Verified) -> Result<(), Failed> {
        if self.is_empty() {
            return Ok(());
        }
        let email = person.who.verified_email.as_ref().ok_or(Failed::Unverified)?.to_lowercase();
        let domain = email.rsplit_once('@').map_or("", |(_, domain)| domain);
        let listed = |domain: &str| self.domains.iter().any(|allowed| allowed == domain);
        let authority = person.who.issuer != GOOGLE
            || GOOGLE_MAIL.contains(&domain)
            || person.workspace.as_deref().is_some_and(|workspace| listed(&workspace.to_lowercase()));
        if self.emails.contains(&email) || (listed(domain) && authority) { Ok(()) } else { Err(Failed::NotInvited) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProviderIdentity;

    fn person(issuer: &str, email: Option<&str>, workspace: Option<&str>) -> Verified {
        let (issuer, verified_email) = (issuer.to_owned(), email.map(str::to_owned));
        let who = ProviderIdentity { issuer, subject: "1".to_owned(), verified_email, name: None };
        Verified { who, workspace: workspace.map(str::to_owned) }
    }

    #[test]
    fn addresses_and_domains_are_compared_whole_and_in_any_case() {
        let list = GuestList::new(&["Example.com"], &["ann@home.example"]);
        let other = "https://issuer.example";
        let admit = |email| list.admit(&person(other, Some(email), None));
        for guest in ["bob@example.com", "Bob@EXAMPLE.com", "Ann@Home.Example"] {
            assert_eq!(admit(guest), Ok(()), "{guest}");
        }
        for stranger in ["bob@notexample.com", "bob@example.com.evil.org", "bob@sub.example.com", "eve@home.example"] {
            assert_eq!(admit(stranger), Err(Failed::NotInvited), "{stranger}");
        }
        assert_eq!(list.admit(&person(other, None, None)), Err(Failed::Unverified));
        assert_eq!(GuestList::default().admit(&person(other, None, None)), Ok(()));
    }

    #[test]
    fn with_google_a_domain_wants_its_workspace_and_gmail_none() {
        let list = GuestList::new(&["example.com", "gmail.com"], &[]);
        let admit = |email, workspace| list.admit(&person(GOOGLE, Some(email), workspace));
        assert_eq!(admit("bob@example.com", Some("example.com")), Ok(()));
        assert_eq!(admit("bob@gmail.com", None), Ok(()));
        assert_eq!(admit("bob@example.com", None), Err(Failed::NotInvited));
        assert_eq!(admit("bob@example.com", Some("other.org")), Err(Failed::NotInvited));
        assert_eq!(admit("bob@other.org", Some("example.com")), Err(Failed::NotInvited));
    }
}

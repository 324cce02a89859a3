//! Users by name: the programs compare numbers.

use nix::unistd::User;

/// The number of a user who is given by number or by name.
///
/// # Errors
/// Where the host knows no user of this name: the words for whoever gave it.
pub fn number(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    match User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => {
            Err(format!("there is no user {text:?}; `getent passwd` lists those that there are"))
        }
        Err(error) => Err(format!("the user {text:?} cannot be looked up: {error}; give a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_names_and_numbers() {
        assert_eq!(number("root"), Ok(0));
        assert_eq!(number("4242"), Ok(4242));
        assert!(number("no-such-user-here").unwrap_err().contains("no-such-user-here"));
        assert!(number("-1").is_err());
    }
}

//! What the members are called, in the order in which we met them: the order of their rows; and who is
//! meant by what a person types.

use vc_core::protocol::member::MemberId;
use vc_core::protocol::text;

use crate::nearest::nearest;

#[derive(Default)]
pub(crate) struct Names(Vec<(MemberId, String)>);

impl Names {
    /// One whom we know keeps the place.
    pub(crate) fn set(&mut self, id: MemberId, name: String) {
        match self.0.iter_mut().find(|(known, _)| *known == id) {
            Some((_, old)) => *old = name,
            None => self.0.push((id, name)),
        }
    }

    /// Where it is known.
    pub(crate) fn renew(&mut self, id: MemberId, name: String) {
        if let Some((_, old)) = self.0.iter_mut().find(|(known, _)| *known == id) {
            *old = name;
        }
    }

    pub(crate) fn forget(&mut self, id: MemberId) {
        self.0.retain(|(known, _)| *known != id);
    }

    pub(crate) fn of(&self, id: MemberId) -> String {
        let known = self.0.iter().find(|(known, _)| *known == id);
        known.map_or_else(|| "someone".to_owned(), |(_, name)| name.clone())
    }

    /// The smaller the longer we know them.
    pub(crate) fn place(&self, id: MemberId) -> usize {
        self.0.iter().position(|(known, _)| *known == id).unwrap_or(usize::MAX)
    }
}

/// Which of the friends is meant: the whole name, or a beginning that only one of them has, in any case.
pub(crate) fn meant_friend<'a>(typed: &str, names: &'a [String]) -> Result<&'a String, String> {
    if let Some(name) = names.iter().find(|name| is_whole(typed, name)) {
        return Ok(name);
    }
    let low = typed.to_lowercase();
    let begins: Vec<&String> = names.iter().filter(|name| name.to_lowercase().starts_with(&low)).collect();
    match begins.as_slice() {
        [one] => return Ok(one),
        [] => {}
        several => {
            let several: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
            return Err(format!("That could be {}. Type more of the name.", several.join(" or ")));
        }
    }
    let shown = text::name(typed);
    Err(match nearest(typed, names.iter().map(String::as_str)) {
        Some(near) => format!("Nobody here is called {shown}. Did you mean {near}?"),
        None if names.is_empty() => "Nobody else is here yet.".to_owned(),
        None => format!("Nobody here is called {shown}, only {}.", listed(names)),
    })
}

/// Whether that is the whole name, in any case.
pub(crate) fn is_whole(typed: &str, name: &str) -> bool {
    name.to_lowercase() == typed.to_lowercase()
}

pub(crate) fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use vc_core::protocol::codec::Wire;

    use super::*;

    #[test]
    fn a_friend_keeps_the_place_under_another_name_and_gets_a_new_one_on_coming_again() {
        let id = |number: u64| MemberId::decode(&number.to_be_bytes()).unwrap_or_else(|_| unreachable!());
        let mut names = Names::default();
        for (number, name) in [(9, "Ada"), (3, "Bob"), (5, "Cem")] {
            names.set(id(number), name.into());
        }
        names.set(id(3), "Bobby".into());
        assert_eq!((names.place(id(9)), names.place(id(3)), names.place(id(5))), (0, 1, 2));
        names.forget(id(9));
        names.set(id(9), "Ada".into());
        assert!(names.place(id(5)) < names.place(id(9)) && names.place(id(9)) < names.place(id(1)));
        assert_eq!((names.of(id(3)).as_str(), names.of(id(1)).as_str()), ("Bobby", "someone"));
    }

    #[test]
    fn a_friend_is_named_whole_or_by_a_beginning_that_is_nobody_elses() {
        let names = ["Bob".to_owned(), "Bobby".to_owned(), "Çem".to_owned()];
        assert_eq!(meant_friend("bob", &names).unwrap(), "Bob");
        assert_eq!(meant_friend("bobb", &names).unwrap(), "Bobby");
        assert_eq!(meant_friend("ç", &names).unwrap(), "Çem");
        assert!(meant_friend("b", &names).unwrap_err().contains("Bob or Bobby"));
        assert!(meant_friend("Boby", &names).unwrap_err().contains("Did you mean Bob"));
        assert!(meant_friend("xyz", &names).unwrap_err().ends_with("only Bob, Bobby and Çem."));
        assert!(meant_friend("xyz", &names[..1]).unwrap_err().ends_with("xyz, only Bob."));
        assert!(meant_friend("x", &[]).unwrap_err().contains("Nobody else"));
    }
}

//! What the members are called, in the order in which we met them: the order of their rows.

use vc_core::protocol::member::MemberId;

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

#[cfg(test)]
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
}

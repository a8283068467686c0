//! Names of pulses, each kept once.

use std::collections::HashMap;
use std::sync::Arc;

/// Names by number, so that a pulse keeps four bytes: a hundred thousand of one name keep it once.
#[derive(Default)]
pub(crate) struct Names {
    numbers: HashMap<Arc<str>, u32>,
    /// Each name with the number of its pulses; free if there are none.
    names: Vec<(Arc<str>, usize)>,
    free: Vec<u32>,
}

impl Names {
    pub(crate) fn add(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            self.names[number as usize].1 += 1;
            return number;
        }
        let name: Arc<str> = name.into();
        let entry = (Arc::clone(&name), 1);
        let number = if let Some(number) = self.free.pop() {
            self.names[number as usize] = entry;
            number
        } else {
            self.names.push(entry);
            self.names.len() as u32 - 1
        };
        self.numbers.insert(name, number);
        number
    }

    pub(crate) fn get(&self, number: u32) -> Arc<str> {
        Arc::clone(&self.names[number as usize].0)
    }

    pub(crate) fn remove(&mut self, number: u32) {
        let (name, users) = &mut self.names[number as usize];
        *users -= 1;
        if *users == 0 {
            self.numbers.remove(name);
            self.free.push(number);
        }
    }
}

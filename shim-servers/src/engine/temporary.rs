//! Temporary tables: objects that one session alone has, until it ends.
//!
//! Owns how a session's own objects and those of all become one catalog, and are parted again. Must not run SQL: SQLite keeps the rows in its
//! connection's own database, which goes with it. Invariant: what is temporary is never written to the file, nor seen by another session.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::catalog::{Catalog, Key, OnCommit, Relation};

/// The schema of temporary objects.
pub const TEMPORARY: &str = "pg_temp";

/// The temporary objects of one session, and what it sees with them.
#[derive(Debug, Default)]
pub(crate) struct Temporary {
    /// A catalog of temporary objects alone.
    own: Option<Arc<Catalog>>,
    /// A catalog of all, and both together: so that the same catalog is given again until one of them changes.
    both: Mutex<Option<(Arc<Catalog>, Arc<Catalog>)>>,
}

impl Temporary {
    /// What the session sees where `all` is what everybody sees.
    pub(crate) fn over(&self, all: Arc<Catalog>) -> Arc<Catalog> {
        let Some(own) = &self.own else { return all };
        let mut both = self.both.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, both)) = &*both
            && Arc::ptr_eq(of, &all)
        {
            return Arc::clone(both);
        }
        let merged = Arc::new(all.with(own));
        *both = Some((all, Arc::clone(&merged)));
        merged
    }

    /// Keeps what is temporary in a catalog that was committed; the rest is everybody's.
    pub(crate) fn keep(&mut self, catalog: Arc<Catalog>) -> Arc<Catalog> {
        let has_own = catalog.has_temporary();
        if !has_own && self.own.is_none() {
            return catalog;
        }
        let all = Arc::new(catalog.permanent());
        self.own = has_own.then(|| catalog.only(is_temporary).into());
        *self.both.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(&all), catalog));
        all
    }
}

fn is_temporary(key: &Key) -> bool {
    key.0 == TEMPORARY
}

fn filtered<T>(map: &BTreeMap<Key, Arc<T>>, wanted: impl Fn(&Key) -> bool) -> BTreeMap<Key, Arc<T>> {
    map.iter().filter(|(key, _)| wanted(key)).map(|(key, found)| (key.clone(), Arc::clone(found))).collect()
}

impl Catalog {
    /// Without temporary objects.
    pub(crate) fn permanent(&self) -> Self {
        self.only(|key| !is_temporary(key))
    }

    /// The objects whose keys are wanted.
    fn only(&self, wanted: impl Fn(&Key) -> bool) -> Self {
        let mut only = self.clone();
        only.relations = filtered(&self.relations, &wanted);
        only.indexes = filtered(&self.indexes, &wanted);
        only.sequences = filtered(&self.sequences, &wanted);
        only.enums = filtered(&self.enums, &wanted);
        only
    }

    /// With the objects of another catalog as well.
    fn with(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.relations.extend(other.relations.clone());
        all.indexes.extend(other.indexes.clone());
        all.sequences.extend(other.sequences.clone());
        all.enums.extend(other.enums.clone());
        all
    }

    /// Whether any object is temporary; an index is one of a table.
    pub(crate) fn has_temporary(&self) -> bool {
        let mut keys = self.relations.keys().chain(self.sequences.keys()).chain(self.enums.keys());
        keys.any(is_temporary)
    }

    /// Temporary tables that a commit empties or drops.
    pub(crate) fn ending(&self) -> impl Iterator<Item = &Arc<Relation>> {
        self.relations.values().filter(|relation| relation.on_commit != OnCommit::PreserveRows)
    }

    /// Removes a relation, its indexes, and the sequences of its columns.
    pub(crate) fn remove_relation(&mut self, key: &Key) -> Option<Arc<Relation>> {
        let gone = self.relations.remove(key)?;
        self.indexes.retain(|_, index| index.table != *key);
        self.sequences.retain(|_, sequence| sequence.owner.as_ref().is_none_or(|(table, _)| table != key));
        Some(gone)
    }
}

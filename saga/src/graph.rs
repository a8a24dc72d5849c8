//! The steps of a definition as a graph without cycles, in an order in which each stands
//! behind what it follows. It knows names and arrows, no data.

use std::collections::{BTreeSet, HashMap};

use crate::{
    DefinitionError, Kind,
    id::check_word,
    path::{Condition, Part, Path},
    step::Node,
};

/// Most steps and conditions of a definition, the rounds of its loops among them.
pub(crate) const NODES: usize = 1_000;

#[derive(Debug)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Place>,
    by_name: HashMap<String, usize>,
}

/// Where a step or a condition stands.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) after: Vec<usize>,
    pub(crate) before: Vec<usize>,
    /// The conditions on which it depends, and what they have to say.
    pub(crate) within: Vec<(usize, bool)>,
    pub(crate) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Step { kind: Kind, undoable: bool },
    Choice,
}

/// What is run at a place.
pub(crate) enum Runs<D> {
    Step(Box<Node<D>>),
    Choice(Condition<D>),
}

impl Graph {
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The steps, each with its place.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (usize, &Place, Kind)> {
        self.nodes.iter().enumerate().filter_map(|(at, place)| match place.what {
            What::Step { kind, .. } => Some((at, place, kind)),
            What::Choice => None,
        })
    }

    pub(crate) fn undoable(&self, at: usize) -> bool {
        matches!(self.nodes[at].what, What::Step { undoable: true, .. })
    }

    /// All that stands behind this place.
    pub(crate) fn behind(&self, at: usize) -> BTreeSet<usize> {
        let mut behind = BTreeSet::new();
        let mut look = vec![at];
        while let Some(at) = look.pop() {
            look.extend(self.nodes[at].before.iter().copied().filter(|one| behind.insert(*one)));
        }
        behind
    }
}

/// Lays the path out.
pub(crate) fn lay_out<D>(path: Path<D>) -> Result<(Graph, Vec<Runs<D>>), DefinitionError> {
    let mut laying = Laying { nodes: Vec::new(), parts: Vec::new(), by_name: HashMap::new() };
    laying.path(&path, Ends::default(), &Within::default())?;
    if laying.nodes.is_empty() {
        return Err(DefinitionError::Empty);
    }
    let graph = Graph { nodes: laying.nodes, by_name: laying.by_name };
    check_pivots(&graph)?;
    Ok((graph, laying.parts))
}

type Ends = Vec<usize>;

/// Within what a path stands.
#[derive(Clone, Default)]
struct Within {
    within: Vec<(usize, bool)>,
    prefix: String,
    suffix: String,
    /// In how many loops it stands.
    loops: usize,
}

struct Laying<D> {
    nodes: Vec<Place>,
    parts: Vec<Runs<D>>,
    by_name: HashMap<String, usize>,
}

impl<D> Laying<D> {
    /// Lays out what follows these ends, and returns the new ones.
    fn path(
        &mut self,
        path: &Path<D>,
        mut ends: Ends,
        place: &Within,
    ) -> Result<Ends, DefinitionError> {
        for part in &path.parts {
            ends = self.part(part, ends, place)?;
        }
        Ok(ends)
    }

    fn part(
        &mut self,
        part: &Part<D>,
        ends: Ends,
        place: &Within,
    ) -> Result<Ends, DefinitionError> {
        match part {
            Part::Step(node) => {
                let what = What::Step { kind: node.kind, undoable: node.undo.is_some() };
                let part = Runs::Step(Box::new(node.clone()));
                Ok(vec![self.add(&node.name, what, part, &ends, place)?])
            }
            Part::All(paths) => {
                let mut all = Vec::new();
                for path in paths {
                    all.extend(self.path(path, ends.clone(), place)?);
                }
                all.dedup();
                Ok(if paths.is_empty() { ends } else { all })
            }
            Part::Choice { name, holds, then, otherwise } => {
                let choice = self.choice(name, holds, &ends, place)?;
                let mut all = self.path(then, vec![choice], &place.if_it(choice, true))?;
                all.extend(self.path(otherwise, vec![choice], &place.if_it(choice, false))?);
                all.dedup();
                Ok(all)
            }
            Part::Repeat { name, times, holds, body } => {
                self.rounds(name, *times, holds, body, ends, place)
            }
            Part::Nest { name, inner } => {
                check_word(name)?;
                let prefix = format!("{}{name}.", place.prefix);
                self.path(inner, ends, &Within { prefix, ..place.clone() })
            }
        }
    }

    fn rounds(
        &mut self,
        name: &str,
        times: usize,
        holds: &Condition<D>,
        body: &Path<D>,
        mut ends: Ends,
        place: &Within,
    ) -> Result<Ends, DefinitionError> {
        let mut place = place.clone();
        let outer = place.suffix.clone();
        place.loops += 1;
        for round in 1..=times {
            // Within another loop the first round has a number too, to be no round of that.
            if round > 1 || place.loops > 1 {
                place.suffix = format!("{outer}.{round}");
            }
            let choice = self.choice(name, holds, &ends, &place)?;
            place = place.if_it(choice, true);
            ends = self.path(body, vec![choice], &place)?;
        }
        Ok(ends)
    }

    fn choice(
        &mut self,
        name: &str,
        holds: &Condition<D>,
        ends: &[usize],
        place: &Within,
    ) -> Result<usize, DefinitionError> {
        self.add(name, What::Choice, Runs::Choice(holds.clone()), ends, place)
    }

    fn add(
        &mut self,
        name: &str,
        what: What,
        part: Runs<D>,
        after: &[usize],
        place: &Within,
    ) -> Result<usize, DefinitionError> {
        check_word(name)?;
        let name = format!("{}{name}{}", place.prefix, place.suffix);
        check_word(&name)?;
        let at = self.nodes.len();
        if at == NODES {
            return Err(DefinitionError::TooManySteps);
        }
        if self.by_name.insert(name.clone(), at).is_some() {
            return Err(DefinitionError::NameTwice { name });
        }
        for earlier in after {
            self.nodes[*earlier].before.push(at);
        }
        let (after, within) = (after.to_vec(), place.within.clone());
        self.nodes.push(Place { name, after, before: Vec::new(), within, what });
        self.parts.push(part);
        Ok(at)
    }
}

impl Within {
    fn if_it(&self, choice: usize, holds: bool) -> Self {
        let mut place = self.clone();
        place.within.push((choice, holds));
        place
    }
}

/// No two pivots on one way; what can be compensated stands before the pivot, and nothing
/// but what is retriable behind or beside it.
fn check_pivots(graph: &Graph) -> Result<(), DefinitionError> {
    let pivots = graph.steps().filter(|(.., kind)| *kind == Kind::Pivot);
    for (pivot, pivot_place, _) in pivots {
        let behind = graph.behind(pivot);
        for (at, place, kind) in graph.steps() {
            let is_before = graph.behind(at).contains(&pivot);
            if at == pivot || kind == Kind::Retriable || excludes(pivot_place, place) {
                continue;
            }
            let (step, pivot) = (place.name.clone(), pivot_place.name.clone());
            if kind == Kind::Pivot {
                return Err(DefinitionError::SecondPivot { first: pivot, second: step });
            }
            if behind.contains(&at) {
                return Err(DefinitionError::AfterPivot { step, pivot });
            }
            if !is_before {
                return Err(DefinitionError::BesidePivot { step, pivot });
            }
        }
    }
    Ok(())
}

/// Whether no run comes to both.
fn excludes(one: &Place, other: &Place) -> bool {
    one.within.iter().any(|(choice, holds)| other.within.contains(&(*choice, !holds)))
}

use std::fmt::Write;

use crate::{
    Definition, Kind, SagaState,
    graph::{Graph, What},
    story::word,
};

/// A graph of steps, to be drawn.
///
/// ```
/// use saga::{Definition, Path, Step, Work};
///
/// let step = |name| Step::new(name, |_: Work<()>| async { Ok(()) });
/// let path = Path::of(step("hotel")).step(step("charge").pivot());
/// let trip = Definition::new("trip", 1, path)?;
/// assert_eq!(
///     trip.drawing().mermaid(),
///     "flowchart TD\n  n0[\"hotel\"]\n  n1[[\"charge\"]]\n  n0 --> n1\n",
/// );
/// assert!(trip.drawing().dot().contains("n0 -> n1"));
/// # Ok::<(), saga::DefinitionError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Drawing {
    nodes: Vec<Node>,
    arrows: Vec<(usize, usize, Option<bool>)>,
}

#[derive(Debug, Clone)]
struct Node {
    name: String,
    shape: Shape,
    state: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Step,
    Pivot,
    Choice,
}

/// What the states of steps look like.
const COLOURS: [(&str, &str); 8] = [
    ("done", "#b7e4c7"),
    ("running", "#a2d2ff"),
    ("asked", "#a2d2ff"),
    ("retrying", "#ffe8a3"),
    ("undoing", "#ffd6a5"),
    ("undone", "#d9d9d9"),
    ("failed", "#ffadad"),
    ("skipped", "#f4f4f4"),
];

impl<D: Send + Sync + 'static> Definition<D> {
    /// Its graph, to be drawn.
    pub fn drawing(&self) -> Drawing {
        Drawing::of(self.graph(), None)
    }
}

impl Drawing {
    pub(crate) fn of(graph: &Graph, state: Option<&SagaState>) -> Self {
        let nodes = graph.nodes.iter().map(|place| {
            let shape = match place.what {
                What::Choice => Shape::Choice,
                What::Step { kind: Kind::Pivot, .. } => Shape::Pivot,
                What::Step { .. } => Shape::Step,
            };
            let word = |state| word(state, &place.name);
            let state = state.filter(|_| shape != Shape::Choice).map(word);
            Node { name: place.name.clone(), shape, state }
        });
        let arrows = graph.nodes.iter().enumerate().flat_map(|(to, place)| {
            place.after.iter().map(move |from| {
                let said = place.within.iter().find(|(choice, _)| choice == from);
                (*from, to, said.map(|(_, holds)| *holds))
            })
        });
        Self { nodes: nodes.collect(), arrows: arrows.collect() }
    }

    /// As Mermaid draws it.
    pub fn mermaid(&self) -> String {
        let mut text = "flowchart TD\n".to_owned();
        for (at, node) in self.nodes.iter().enumerate() {
            let (open, close) = match node.shape {
                Shape::Step => ("[\"", "\"]"),
                Shape::Pivot => ("[[\"", "\"]]"),
                Shape::Choice => ("{\"", "\"}"),
            };
            let class = node.state.filter(|state| *state != "waiting");
            let class = class.map(|class| format!(":::{class}")).unwrap_or_default();
            let _ = writeln!(text, "  n{at}{open}{}{close}{class}", node.name);
        }
        for (from, to, said) in &self.arrows {
            let said = said.map(|said| format!("|{said}|")).unwrap_or_default();
            let _ = writeln!(text, "  n{from} -->{said} n{to}");
        }
        for (state, colour) in COLOURS {
            if self.nodes.iter().any(|node| node.state == Some(state)) {
                let _ = writeln!(text, "  classDef {state} fill:{colour}");
            }
        }
        text
    }

    /// As Graphviz draws it.
    pub fn dot(&self) -> String {
        let mut text = "digraph saga {\n".to_owned();
        for (at, node) in self.nodes.iter().enumerate() {
            let shape = match node.shape {
                Shape::Step => "box",
                Shape::Pivot => "doubleoctagon",
                Shape::Choice => "diamond",
            };
            let colour = COLOURS.iter().find(|(state, _)| Some(*state) == node.state);
            let colour =
                colour.map(|(_, colour)| format!(", style=filled, fillcolor=\"{colour}\""));
            let (name, colour) = (&node.name, colour.unwrap_or_default());
            let _ = writeln!(text, "  n{at} [label=\"{name}\", shape={shape}{colour}];");
        }
        for (from, to, said) in &self.arrows {
            let said = said.map(|said| format!(" [label=\"{said}\"]")).unwrap_or_default();
            let _ = writeln!(text, "  n{from} -> n{to}{said};");
        }
        text + "}\n"
    }
}

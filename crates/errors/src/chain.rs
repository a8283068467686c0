use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use crate::Known;
use crate::trail::Place;

pub(crate) type Foreign = Box<dyn Error + Send + Sync>;

/// One thing that was said about an error on its way.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) what: What,
    pub(crate) place: Place,
    /// How many hops the trail had by then.
    pub(crate) after: u64,
}

#[derive(Debug)]
pub(crate) enum What {
    /// A known error was raised.
    Known(Box<dyn Known>),
    /// An error was declared a bug.
    Bug(Foreign),
    /// An error that a known one was raised over: foreseen, hence no bug.
    Cause(Foreign),
    /// What came so far was declared a bug.
    Unforeseen,
    /// A remark for the developer.
    Note(Cow<'static, str>),
}

impl Layer {
    pub(crate) fn error(&self) -> Option<&(dyn Error + 'static)> {
        match &self.what {
            What::Known(error) => Some(&**error),
            What::Bug(error) | What::Cause(error) => Some(&**error),
            What::Unforeseen | What::Note(_) => None,
        }
    }
}

/// The layers of a report, at least one.
///
/// Four of them stand inline, each in the one above it, so that each can be the [`Error::source`] of the next without an
/// allocation. When there is no room for one more, they move to the heap together
/// and the new one starts above them.
#[derive(Debug)]
pub(crate) struct Chain {
    third: Link<Link<Link<Ground>>>,
    /// How many links hold a layer: the lowest ones.
    links: u8,
}

/// A place for a layer above others.
#[derive(Debug)]
struct Link<B> {
    layer: Option<Layer>,
    below: B,
}

/// What the links stand on.
#[derive(Debug)]
enum Ground {
    Head(Layer),
    Older(Box<Chain>),
    /// Not yet, or no more.
    Nothing,
}

impl Chain {
    /// A chain that waits for its head.
    #[inline(always)]
    pub(crate) fn empty() -> Self {
        let first = Link {
            layer: None,
            below: Ground::Nothing,
        };
        let second = Link {
            layer: None,
            below: first,
        };
        Self {
            third: Link {
                layer: None,
                below: second,
            },
            links: 0,
        }
    }

    pub(crate) fn set_head(&mut self, head: Layer) {
        *self.ground() = Ground::Head(head);
    }

    /// An empty slot above all layers, for the next one.
    ///
    /// Asked for before the layer is built, so that it is built there: one that is built elsewhere and moved at once makes
    /// the processor wait for its own stores.
    #[inline]
    pub(crate) fn slot(&mut self) -> &mut Option<Layer> {
        if self.links == 3 {
            self.make_room();
        }
        self.links += 1;
        let slot = match self.links {
            1 => &mut self.third.below.below.layer,
            2 => &mut self.third.below.layer,
            _ => &mut self.third.layer,
        };
        // It is empty. Said once more, the compiler knows, and drops nothing when the layer comes.
        *slot = None;
        slot
    }

    #[cold]
    fn make_room(&mut self) {
        let older = std::mem::replace(self, Self::empty());
        *self.ground() = Ground::Older(Box::new(older));
    }

    /// All layers, the outermost first.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &Layer> {
        std::iter::successors(Some(self), |chain| match &chain.third.below.below.below {
            Ground::Older(chain) => Some(chain),
            Ground::Head(_) | Ground::Nothing => None,
        })
        .flat_map(|chain| {
            let Link {
                layer: third,
                below:
                    Link {
                        layer: second,
                        below: first,
                    },
            } = &chain.third;
            let head = match &first.below {
                Ground::Head(head) => Some(head),
                Ground::Older(_) | Ground::Nothing => None,
            };
            [third.as_ref(), second.as_ref(), first.layer.as_ref(), head]
                .into_iter()
                .flatten()
        })
    }

    /// What the outermost error has below it.
    pub(crate) fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.third.source_of_face()
    }

    fn ground(&mut self) -> &mut Ground {
        &mut self.third.below.below.below
    }
}

/// Takes the older chains off one by one: dropped by themselves they would recurse, and a long chain would overflow the
/// stack.
impl Drop for Chain {
    #[inline]
    fn drop(&mut self) {
        if !matches!(self.third.below.below.below, Ground::Older(_)) {
            return;
        }
        let mut ground = std::mem::replace(self.ground(), Ground::Nothing);
        while let Ground::Older(mut chain) = ground {
            ground = std::mem::replace(chain.ground(), Ground::Nothing);
        }
    }
}

/// Layers seen as errors that are each other's sources. Notes are passed over.
trait Storey {
    /// The highest error at or below this storey.
    fn face(&self) -> Option<&(dyn Error + 'static)>;
    /// What that error has below it.
    fn source_of_face(&self) -> Option<&(dyn Error + 'static)>;
}

impl<B: Storey + fmt::Debug + 'static> Storey for Link<B> {
    fn face(&self) -> Option<&(dyn Error + 'static)> {
        match self.layer.as_ref().and_then(Layer::error) {
            Some(_) => Some(self),
            None => self.below.face(),
        }
    }

    fn source_of_face(&self) -> Option<&(dyn Error + 'static)> {
        match self.layer.as_ref().and_then(Layer::error) {
            Some(_) => self.below.face(),
            None => self.below.source_of_face(),
        }
    }
}

impl Storey for Ground {
    fn face(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Head(head) => head.error(),
            Self::Older(chain) => chain.third.face(),
            Self::Nothing => None,
        }
    }

    fn source_of_face(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Head(head) => head.error()?.source(),
            Self::Older(chain) => chain.third.source_of_face(),
            Self::Nothing => None,
        }
    }
}

impl<B> fmt::Display for Link<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer.as_ref().and_then(Layer::error) {
            Some(error) => fmt::Display::fmt(error, f),
            None => Ok(()),
        }
    }
}

impl<B: Storey + fmt::Debug + 'static> Error for Link<B> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source_of_face()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::panic::Location;

    use super::*;

    fn layer(what: What) -> Layer {
        Layer {
            what,
            place: Location::caller(),
            after: 0,
        }
    }

    #[test]
    fn layers_and_sources_keep_their_order_across_the_move_to_the_heap() {
        let mut chain = Chain::empty();
        chain.set_head(layer(What::Cause("0".into())));
        for number in 1..20 {
            *chain.slot() = Some(layer(What::Cause(number.to_string().into())));
            *chain.slot() = Some(layer(What::Note("between".into())));
            let told: Vec<_> = chain
                .layers()
                .filter_map(Layer::error)
                .map(ToString::to_string)
                .collect();
            let expected: Vec<_> = (0..=number)
                .rev()
                .map(|number| number.to_string())
                .collect();
            assert_eq!(told, expected);
            let walked: Vec<_> = std::iter::successors(chain.source(), |&error| error.source())
                .map(ToString::to_string)
                .collect();
            assert_eq!(walked, expected[1..]);
        }
    }

    #[test]
    fn a_chain_of_a_hundred_thousand_is_dropped_without_recursion() {
        let mut chain = Chain::empty();
        chain.set_head(layer(What::Cause("head".into())));
        for _ in 0..100_000 {
            *chain.slot() = Some(layer(What::Unforeseen));
        }
        assert_eq!(chain.layers().count(), 100_001);
        drop(chain);
    }
}

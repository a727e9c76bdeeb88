//! Merkle trees of the shape of RFC 9162 section 2.1: pairs are joined level by level, and a node
//! without a sibling moves up as it is.
//!
//! A leaf's digest has the context `merkle/leaf`, a joint's `merkle/node`, the tree without leaves
//! `merkle/empty`, so no one kind can stand in for another. A root alone does not say how many
//! leaves it has: whoever checks a path must know the count from the same source as the root.

use crate::digest::{Context, Digest};
use crate::Error;

/// The root over `leaves`, in order.
#[must_use]
pub fn root<L: AsRef<[u8]>>(leaves: &[L]) -> Digest {
    let mut level = digests(leaves);
    if level.is_empty() {
        return Context::constant("merkle/empty").digest(&[]);
    }
    let node = Context::constant("merkle/node");
    while level.len() > 1 {
        level = joined(&node, &level);
    }
    level[0]
}

/// The siblings, from the leaf up, that lead from `leaves[index]` to the root.
///
/// # Errors
/// [`Error::Input`] where there is no such leaf.
pub fn path<L: AsRef<[u8]>>(leaves: &[L], index: usize) -> Result<Vec<Digest>, Error> {
    if index >= leaves.len() {
        return Err(Error::Input(format!(
            "there is no leaf {index} among {}",
            leaves.len()
        )));
    }
    let node = Context::constant("merkle/node");
    let mut level = digests(leaves);
    let mut position = index;
    let mut path = Vec::new();
    while level.len() > 1 {
        path.extend(level.get(position ^ 1));
        level = joined(&node, &level);
        position /= 2;
    }
    Ok(path)
}

/// Whether `path` proves that `leaf` is leaf `index` of the `count` leaves under `root`. A path
/// that is too long or too short proves nothing.
#[must_use]
pub fn verify_path<P: AsRef<[u8]>>(
    root: &[u8],
    index: u64,
    count: u64,
    leaf: &[u8],
    path: &[P],
) -> bool {
    if index >= count {
        return false;
    }
    let node = Context::constant("merkle/node");
    let mut digest = Context::constant("merkle/leaf").digest(&[leaf]);
    let mut position = index;
    let mut width = count;
    let mut siblings = path.iter().map(AsRef::as_ref);
    while width > 1 {
        if position ^ 1 < width {
            let Some(sibling) = siblings.next().filter(|bytes| bytes.len() == digest.len()) else {
                return false;
            };
            digest = if position % 2 == 0 {
                node.digest(&[&digest, sibling])
            } else {
                node.digest(&[sibling, &digest])
            };
        }
        position /= 2;
        width = width.div_ceil(2);
    }
    siblings.next().is_none() && digest == root
}

fn digests<L: AsRef<[u8]>>(leaves: &[L]) -> Vec<Digest> {
    let context = Context::constant("merkle/leaf");
    leaves
        .iter()
        .map(|leaf| context.digest(&[leaf.as_ref()]))
        .collect()
}

fn joined(node: &Context, level: &[Digest]) -> Vec<Digest> {
    level
        .chunks(2)
        .map(|pair| match pair {
            [left, right] => node.digest(&[left, right]),
            alone => alone[0],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u8) -> Vec<[u8; 1]> {
        (0..count).map(|value| [value]).collect()
    }

    /// The recursive definition of RFC 9162 section 2.1.1, with our digests.
    fn definition(leaves: &[[u8; 1]]) -> Digest {
        if leaves.len() == 1 {
            return blake3::derive_key("hypermesh/v1/merkle/leaf", &leaves[0]);
        }
        let split = leaves.len().next_power_of_two() / 2;
        let mut both = definition(&leaves[..split]).to_vec();
        both.extend_from_slice(&definition(&leaves[split..]));
        blake3::derive_key("hypermesh/v1/merkle/node", &both)
    }

    #[test]
    fn has_the_shape_of_rfc_9162() {
        for count in 1..=70 {
            assert_eq!(root(&leaves(count)), definition(&leaves(count)), "{count}");
        }
    }

    #[test]
    fn every_path_of_every_size_holds_for_its_leaf_alone() {
        for count in 1..=40u8 {
            let leaves = leaves(count);
            let root = root(&leaves);
            for index in 0..count {
                let path = path(&leaves, index.into()).unwrap();
                for at in 0..count {
                    let holds = verify_path(&root, at.into(), count.into(), &[index], &path);
                    assert_eq!(holds, at == index, "{count} {index} {at}");
                }
                let longer = [path.as_slice(), &[[0; 32]]].concat();
                let count = u64::from(count);
                assert!(!verify_path(&root, index.into(), count, &[index], &longer));
                if let Some((_, shorter)) = path.split_last() {
                    assert!(!verify_path(&root, index.into(), count, &[index], shorter));
                }
            }
        }
    }

    #[test]
    fn refuses_what_is_not_there() {
        assert!(path(&leaves(3), 3).is_err());
        assert!(path::<[u8; 1]>(&[], 0).is_err());
        assert!(!verify_path::<[u8; 32]>(
            &root::<[u8; 1]>(&[]),
            0,
            0,
            b"",
            &[]
        ));
        assert_ne!(root::<[u8; 1]>(&[]), root(&[b""]));
    }
}

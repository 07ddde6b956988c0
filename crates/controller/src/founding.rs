use metadata::Endpoint;
use types::NodeId;

/// What one founder said when it was last asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// No answer, for whatever reason.
    Silent,
    /// It has no cluster and promised its emptiness to the candidate cluster id that it was asked with.
    Empty,
    /// It has no cluster, and gives no promise: another list of founders, or another candidate.
    NoPromise(String),
    /// It belongs to this cluster.
    Member { cluster_id: String },
}

/// Everything the decision depends on. `answers` has one entry per founder other than this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Situation {
    /// The cluster that the identity file names.
    pub member_of: Option<String>,
    /// Position of this node in the list of founders.
    pub position: Option<usize>,
    pub founders: usize,
    pub found_alone: bool,
    pub answers: Vec<(Endpoint, Answer)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The node knows its cluster: start, whatever others say.
    Start,
    /// Choose the candidate id as the cluster's and write the first membership.
    Found,
    /// Join the cluster that these nodes belong to.
    Join { cluster_id: String, via: Vec<Endpoint> },
    /// Ask again; the lines say for whom the node waits and why.
    Wait(Vec<String>),
    /// Nothing will help but a person.
    Refuse(String),
}

/// The rule of founding (DESIGN section 2): only the first of the founders may found, and only after *all*
/// the others said that they are empty, for one cluster id. A majority is not enough: two wiped of three,
/// the third unreachable, look like a first boot.
#[must_use]
pub fn decide(situation: &Situation) -> Decision {
    if situation.member_of.is_some() {
        return Decision::Start;
    }
    let mut clusters: Vec<(&str, Vec<Endpoint>)> = Vec::new();
    for (endpoint, answer) in &situation.answers {
        if let Answer::Member { cluster_id } = answer {
            match clusters.iter_mut().find(|(id, _)| id == cluster_id) {
                Some((_, via)) => via.push(endpoint.clone()),
                None => clusters.push((cluster_id, vec![endpoint.clone()])),
            }
        }
    }
    if clusters.len() > 1 {
        let ids: Vec<&str> = clusters.iter().map(|(id, _)| *id).collect();
        return Decision::Refuse(format!(
            "the nodes listed belong to different clusters: {}",
            ids.join(", ")
        ));
    }
    if let Some((cluster_id, via)) = clusters.pop() {
        return Decision::Join {
            cluster_id: cluster_id.to_owned(),
            via,
        };
    }
    if situation.founders == 0 {
        return if situation.found_alone {
            Decision::Found
        } else {
            Decision::Refuse(
                "no founders are listed and the node may not found a cluster alone: list them with join=host:port,… \
                 or allow it with found=true"
                    .into(),
            )
        };
    }
    match situation.position {
        Some(0) => {
            let missing: Vec<String> = situation
                .answers
                .iter()
                .filter_map(|(endpoint, answer)| match answer {
                    Answer::Empty | Answer::Member { .. } => None,
                    Answer::Silent => Some(format!("{} has not answered", name(endpoint))),
                    Answer::NoPromise(why) => Some(format!("{}: {why}", name(endpoint))),
                })
                .collect();
            // The count guards against a caller that asked only some of them.
            if missing.is_empty() && situation.answers.len() + 1 == situation.founders {
                Decision::Found
            } else {
                Decision::Wait(missing)
            }
        }
        _ => Decision::Wait(vec!["the first of the founders has not founded the cluster".into()]),
    }
}

fn name(endpoint: &Endpoint) -> String {
    format!("{}:{}", endpoint.host, endpoint.port)
}

/// An empty node's promise: it is empty for one candidate only. In memory is enough, because founding takes
/// the promise of *all* founders, the candidate's own included, and a candidate that restarts before its
/// identity is durable has founded nothing.
#[derive(Debug, Default)]
pub struct Promise {
    given: Option<(NodeId, String)>,
    count: u64,
}

impl Promise {
    /// Promises emptiness to `candidate` for `cluster_id`, unless another candidate has the promise. The same
    /// candidate may come back with another id: its earlier self founded nothing, or it would not ask.
    ///
    /// # Errors
    /// Why not, for the candidate's log.
    pub fn give(
        &mut self,
        candidate: NodeId,
        cluster_id: &str,
        theirs: &[Endpoint],
        ours: &[Endpoint],
    ) -> Result<(), String> {
        if theirs != ours {
            return Err("it is configured with another list of founders".into());
        }
        match &self.given {
            Some((holder, _)) if *holder != candidate => Err(format!("it has promised to be founded by node {holder}")),
            _ => {
                self.given = Some((candidate, cluster_id.to_owned()));
                self.count += 1;
                Ok(())
            }
        }
    }

    /// How many promises were given. A node that made one while it was asking to join drops what it was told
    /// and looks again: the cluster that answered may be gone, and its founder about to found another.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests;

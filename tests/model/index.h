// The index of a collection as a reader finds it, compared with a model.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/client/client.h"
#include "common/objects/object_store.h"
#include "common/segment/segment_set.h"
#include "tests/model/model.h"

namespace sluice::model {

// Where the live rows of `view` are not those of the model, at most ten lines; empty if they are.
// Every text must have been embedded.
std::vector<std::string> Differences(const SegmentSet& view, const IdHasher& hasher,
                                     const Model& model);

// What the log says of a collection, and the segments that it lists.
struct Index {
  v1::ReadViewHeader header;
  std::shared_ptr<const SegmentSet> view;
};

// Once the records up to `applied` are in it; waits for that as long as the client's deadline
// allows.
absl::StatusOr<Index> OpenIndex(client::Log& log, const ObjectStore& objects,
                                const CollectionId& collection, SeqId applied);

}  // namespace sluice::model

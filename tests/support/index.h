// The index of a collection as a reader finds it: the segments that the log lists, opened from the
// object store.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/client/client.h"
#include "common/objects/object_store.h"
#include "common/segment/segment_set.h"
#include "tests/support/collection_model.h"

namespace sluice::testing {

struct Index {
  v1::ReadViewHeader header;
  std::shared_ptr<const SegmentSet> view;
};

// With the records up to `applied` in it; waits for that as the client's deadline allows.
absl::StatusOr<Index> OpenIndex(client::Log& log, const ObjectStore& objects,
                                const CollectionId& collection, SeqId applied);

// Where the index is not as the model says, at most ten lines; empty if it is.
std::vector<std::string> Differences(const Index& index, const Model& model);

}  // namespace sluice::testing

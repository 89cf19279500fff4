// Where a paged Get goes on: an opaque, versioned text that the caller hands back. It names its
// collection and incarnation, and carries a checksum. Pure; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/segment/id_hash.h"

namespace sluice::frontend {

struct PageToken {
  CollectionId collection;
  Incarnation incarnation;
  // The last id of the page before.
  IdHash after;
};

std::string EncodePageToken(const PageToken& token);
// INVALID_REQUEST if it is not one of ours, or another collection's; INCARNATION_CHANGED.
absl::StatusOr<IdHash> DecodePageToken(std::string_view text, const CollectionId& collection,
                                       Incarnation incarnation);

}  // namespace sluice::frontend

// What becomes of a job whose work failed. Pure.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace sluice::compactor {

enum class Failure {
  // Somebody else has the lease, or the collection is gone: the work is dropped, nothing is to be
  // said.
  kLost,
  // Something around the worker: back off, blame nothing.
  kInfrastructure,
  // The collection itself: reported, so that it is counted and shown.
  kCollection,
};

Failure ClassOf(const absl::Status& error);
std::string_view FailureName(Failure failure);

}  // namespace sluice::compactor

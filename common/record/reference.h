// For tests: the scanner's rules once more, the plain way, by parsing a push into messages and
// looking at each field. Slow.
#pragma once

#include <string>

#include "common/record/scan.h"

namespace sluice {

// Whether ScanPush must accept `push`.
bool ReferenceAccepts(const std::string& push);

// Scans `push` and returns what differs between scanner and reference: verdict, or shape if both
// accept. Empty: nothing.
std::string CompareWithReference(const std::string& push);

}  // namespace sluice

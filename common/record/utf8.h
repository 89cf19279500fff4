// UTF-8 as protobuf demands it of strings: no overlong forms, no surrogates, nothing above
// U+10FFFF. Pure; thread-safe.
#pragma once

#include <string_view>

namespace sluice {

bool IsValidUtf8(std::string_view text);

}  // namespace sluice

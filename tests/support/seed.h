// The seed of a random test.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

namespace sluice::testing {

// SLUICE_TEST_SEED if it is set, else a new one; printed, so that a failure can be replayed.
inline uint64_t TestSeed() {
  const char* const given = std::getenv("SLUICE_TEST_SEED");
  const uint64_t seed = given ? std::stoull(given) : std::random_device()();
  std::printf("replay with SLUICE_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace sluice::testing

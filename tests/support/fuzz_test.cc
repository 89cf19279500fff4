// What every build does with a fuzz target: its seeds, and what mutation makes of them in a moment.
// With SLUICE_TEST_SEED, the seed that a failing run printed, the same inputs come in the same
// order.
#include "tests/support/fuzz.h"

#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <new>
#include <random>

#include "tests/support/seed.h"

namespace {

// A length field that lies must not be believed: no input of these tests is longer than some KiB.
constexpr size_t kMostBytesAtOnce = 64 << 20;

void* AllocateAtMost(size_t size) {
  if (size > kMostBytesAtOnce) {
    std::fprintf(stderr, "allocated %zu bytes at once\n", size);
    std::abort();
  }
  void* const p = std::malloc(size ? size : 1);
  if (p == nullptr) std::abort();
  return p;
}

}  // namespace

void* operator new(size_t size) { return AllocateAtMost(size); }
void* operator new[](size_t size) { return AllocateAtMost(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return AllocateAtMost(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return AllocateAtMost(size); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }

namespace sluice::testing {
namespace {

// What is being tried: printed when it ends the program, to be made a seed.
std::string_view current;

void PrintCurrent(int signal) {
  std::fprintf(stderr, "the input, in hex: ");
  for (const char c : current) std::fprintf(stderr, "%02x", static_cast<unsigned char>(c));
  std::fprintf(stderr, "\n");
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void Try(std::string_view input) {
  current = input;
  FuzzOne(input);
}

std::string Mutated(const std::vector<std::string>& seeds, std::mt19937_64& random) {
  const auto below = [&](size_t n) { return n ? random() % n : 0; };
  std::string input = seeds[below(seeds.size())];
  for (size_t changes = 1 + below(4); changes > 0; --changes) {
    const std::string& other = seeds[below(seeds.size())];
    const size_t at = below(input.size() + 1);
    const size_t from = below(other.size());
    switch (below(7)) {
      case 0:
        input.insert(at, other.substr(from, 1 + below(16)));
        break;
      case 1:
        input.replace(at, below(16), other.substr(from, below(16)));
        break;
      case 2:
        input.insert(at, 1 + below(8), static_cast<char>(random()));
        break;
      case 3:
        input.resize(at);
        break;
      default:
        std::string edit(4, '\0');
        for (char& c : edit) c = static_cast<char>(random());
        input = Damaged(std::move(input), edit);
    }
  }
  return input;
}

TEST(SLUICE_FUZZ_TARGET, TakesItsSeedsAndWhatMutationMakesOfThem) {
  google::protobuf::LogSilencer no_complaints_about_utf8;
  const auto limit =
      std::getenv("SLUICE_TEST_SEED") ? std::chrono::seconds(5) : std::chrono::milliseconds(300);
  std::mt19937_64 random(TestSeed());
  const std::vector<std::string> seeds = FuzzSeeds();
  ASSERT_FALSE(seeds.empty());
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) std::signal(signal, PrintCurrent);
  Try("");
  for (const std::string& seed : seeds) Try(seed);
  const auto end = std::chrono::steady_clock::now() + limit;
  int inputs = 0;
  for (; std::chrono::steady_clock::now() < end; ++inputs) Try(Mutated(seeds, random));
  std::printf("%d inputs\n", inputs);
}

}  // namespace
}  // namespace sluice::testing

#include "catch.hpp"

#include <moevit/train/schedule.hpp>

using namespace moevit;

namespace {

constexpr Schedule linear{.decay = Decay::linear, .peak = 1, .warmup = 4, .total = 12, .end = 0.5};

}  // namespace

static_assert(linear.at(2) == 0.5 && linear.at(4) == 1 && linear.at(8) == 0.75 && linear.at(12) == 0.5);

TEST_CASE("schedules at their ends and beyond") {
  CHECK(linear.at(-3) == 0);
  CHECK(linear.at(100) == 0.5);
  const Schedule cosine{.decay = Decay::cosine, .peak = 2, .warmup = 2, .total = 6, .start = 1};
  CHECK(cosine.at(0) == 1);
  CHECK(cosine.at(1) == 1.5);
  CHECK(cosine.at(2) == 2);
  CHECK(cosine.at(4) == Approx(1));
  CHECK(cosine.at(6) == Approx(0).margin(1e-15));
  CHECK(cosine.at(7) == cosine.at(6));
  const Schedule constant{.decay = Decay::none, .peak = 3, .warmup = 3};
  CHECK(constant.at(1) == 1);
  CHECK(constant.at(1000) == 3);
  const Schedule only_warmup{.decay = Decay::cosine, .peak = 3, .warmup = 3, .total = 3, .end = 1};
  CHECK(only_warmup.at(2) == 2);
  CHECK(only_warmup.at(3) == Approx(1));
}

TEST_CASE("inverse root: peak * sqrt(warmup / step), and a cooldown to the end") {
  Schedule schedule{.decay = Decay::rsqrt, .peak = 1, .warmup = 100, .total = 1000};
  CHECK(schedule.at(100) == 1);
  CHECK(schedule.at(400) == 0.5);
  CHECK(schedule.at(2500) == 0.2);
  schedule.cooldown = 600;  // from step 400
  CHECK(schedule.at(400) == 0.5);
  CHECK(schedule.at(700) == 0.25);
  CHECK(schedule.at(1000) == 0);
  schedule.timescale = 300;
  CHECK(schedule.at(100) == 1);
  CHECK(schedule.at(200) == Approx(std::sqrt(0.75)));
}

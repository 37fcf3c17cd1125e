#include "train/loss_gradient_check.hpp"

#include <moevit/moe/balancing_bias.hpp>
#include <moevit/train/targets.hpp>

using namespace moevit;
using namespace moevit::test;

TEST_CASE("smoothed targets sum to 1") {
  RowMajorMatrix targets(2, 4);
  one_hot_targets(std::vector<std::int32_t>{3, 0}, view(targets), 0.2);
  CHECK(targets(0, 3) == Approx(0.85));
  CHECK(targets(0, 0) == Approx(0.05));
  CHECK(targets.sum() == Approx(2));
  CHECK_THROWS_AS(one_hot_targets(std::vector<std::int32_t>{4, 0}, view(targets)), Error);
  CHECK_THROWS_AS(one_hot_targets(std::vector<std::int32_t>{1, 0}, view(targets), 1.5), Error);
}

TEST_CASE("mixup of two rows by hand") {
  const float rows[] = {1, 2, 3,  //
                        5, 6, 11};
  float mixed[6];
  const std::vector<Index> partners{1, 0};
  const std::vector<float> shares{0.75f, 1.f};
  mix_rows({rows, 2, 3}, partners, shares, {mixed, 2, 3});
  CHECK(std::vector<float>(mixed, mixed + 6) == std::vector<float>{2, 3, 5, 5, 6, 11});
  CHECK_THROWS_AS(mix_rows({rows, 2, 3}, std::vector<Index>{1, 2}, shares, {mixed, 2, 3}), Error);
  CHECK_THROWS_AS(mix_rows({mixed, 2, 3}, partners, shares, {mixed, 2, 3}), Error);
}

TEST_CASE("cutmix: the box and the share of the image that stays") {
  // 8 x 6 pixels, share 3/4: sides 4 and 3, half sides 2 and 1.
  const PixelBox box = cutmix_box(8, 6, 0.75f, 1, 5);
  CHECK(box == PixelBox{0, 3, 4, 6});
  CHECK(cutmix_share(box, 8, 6) == 1.f - 6.f / 48.f);
  CHECK(cutmix_box(8, 6, 1.f, 4, 3).area() == 0);
  CHECK(cutmix_box(8, 6, 0.f, 4, 3).area() == 48);
  CHECK_THROWS_AS(cutmix_box(8, 6, 1.5f, 4, 3), Error);
}

TEST_CASE("cutmix of two images by hand") {
  // 2 x 2 pixels of one channel, the right column replaced in the first image, nothing in the second.
  const float images[] = {1, 2, 3, 4,  //
                          5, 6, 7, 8};
  float mixed[8];
  const std::vector<Index> partners{1, 0};
  const std::vector<PixelBox> boxes{{0, 2, 1, 2}, {0, 0, 0, 0}};
  cutmix_images({images, 2, 4}, 2, 2, partners, boxes, {mixed, 2, 4});
  CHECK(std::vector<float>(mixed, mixed + 8) == std::vector<float>{1, 6, 3, 8, 5, 6, 7, 8});
  const std::vector<PixelBox> outside{{0, 2, 1, 3}, {0, 0, 0, 0}};
  CHECK_THROWS_AS(cutmix_images({images, 2, 4}, 2, 2, partners, outside, {mixed, 2, 4}), Error);
  CHECK_THROWS_AS(cutmix_images({images, 2, 4}, 3, 2, partners, boxes, {mixed, 2, 4}), Error);
}

TEST_CASE("targets summed to super-classes") {
  const float targets[] = {0.5f, 0.25f, 0.125f, 0.125f};
  float sums[3];
  super_class_targets({targets, 1, 4}, std::vector<std::int32_t>{2, 0, 2, 0}, {sums, 1, 3});
  CHECK(std::vector<float>(sums, sums + 3) == std::vector<float>{0.375f, 0.f, 0.625f});
  CHECK_THROWS_AS(super_class_targets({targets, 1, 4}, std::vector<std::int32_t>{2, 0, 3, 0}, {sums, 1, 3}), Error);
  CHECK_THROWS_AS(super_class_targets({targets, 1, 4}, std::vector<std::int32_t>{2, 0, 1}, {sums, 1, 3}), Error);
}

TEST_CASE("the balancing bias rises for experts below the mean load and falls for those above") {
  std::vector<float> bias{0.f, 1.f, 0.f};
  update_balancing_bias(std::vector<std::int32_t>{1, 7, 4}, 0.25f, bias);  // mean 4
  CHECK(bias == std::vector<float>{0.25f, 0.75f, 0.f});
  CHECK_THROWS_AS(update_balancing_bias(std::vector<std::int32_t>{1, 7}, 0.25f, bias), Error);
  CHECK_THROWS_AS(update_balancing_bias(std::vector<std::int32_t>{1, 7, -4}, 0.25f, bias), Error);
}

/* Synthetic weights: the values of the published rule, whatever range and thread makes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "loader/expected_tensors.h"
#include "loader/synthetic.h"

/* First and last value and sum of (i + 1) * bits[i] mod 2^64, computed by the same rule in numpy. */
typedef struct value_fact {
    const char *role, *name;
    sa2_dtype dtype;
    int ndim;
    int64_t shape[SA2_MAX_DIMS];
    uint64_t seed;
    uint32_t first, last;
    uint64_t sum;
} value_fact;

static const value_fact facts[] = {
    {"model",
     "model.embed_tokens.weight",
     SA2_BF16,
     2,
     {7680, 512},
     0u,
     0x3d8e,
     0x3f12,
     0x37b44ebca0fdea0u},
    {"model", "lm_head.weight", SA2_BF16, 2, {7680, 512}, 7u, 0x3dd4, 0xbdd5, 0x375274bc0e499b1u},
    {"model",
     "model.layers.2.self_attn.q_proj.weight",
     SA2_BF16,
     2,
     {512, 512},
     0u,
     0xbcb6,
     0x3c55,
     0x3ea7e2fe04b94u},
    {"model",
     "model.layers.0.self_attn.q_proj.bias",
     SA2_BF16,
     1,
     {512},
     0u,
     0x3cc8,
     0xbd2a,
     0xf5b831cbu},
    {"model",
     "model.layers.0.input_layernorm.weight",
     SA2_BF16,
     1,
     {512},
     18446744073709551615u,
     0x3f80,
     0x3f81,
     0x7f37d62fu},
    {"model",
     "encoder.blocks.1.attn.key.weight",
     SA2_BF16,
     2,
     {128, 128},
     0u,
     0x3dfd,
     0x3db3,
     0x3f3f59f58e9u},
    {"model",
     "encoder.conv1.weight",
     SA2_BF16,
     3,
     {128, 128, 3},
     0u,
     0x3d72,
     0x3d5f,
     0x23266ca3de49u},
    {"model",
     "encoder.positional_embedding.weight",
     SA2_BF16,
     2,
     {1500, 128},
     0u,
     0x3db4,
     0x3dae,
     0x217f2e721451fu},
    {"flow",
     "input_embedding.weight",
     SA2_F32,
     2,
     {6561, 128},
     0u,
     0xbe8c86f8,
     0xbf4e6098,
     0xacea054c129233deu},
    {"hift",
     "f0_predictor.classifier.bias",
     SA2_F32,
     1,
     {1},
     0u,
     0x43160000,
     0x43160000,
     0x43160000u},
    {"hift",
     "f0_predictor.classifier.weight",
     SA2_F32,
     2,
     {1, 64},
     0u,
     0x4010c506,
     0x40a306cb,
     0x4442f141c18u},
    {"hift",
     "conv_post.parametrizations.weight.original0",
     SA2_F32,
     3,
     {18, 1, 1},
     0u,
     0x3e604d98,
     0x3e41880d,
     0x299943b604u},
    {"hift",
     "ups.0.parametrizations.weight.original0",
     SA2_F32,
     3,
     {64, 1, 1},
     0u,
     0x3f84c117,
     0x3f8b0801,
     0x203bbd2efb4u},
    {"hift",
     "resblocks.0.activations1.0.alpha",
     SA2_F32,
     1,
     {32},
     0u,
     0x3f368d6d,
     0x3fa69a32,
     0x82bf592680u},
    {"campplus",
     "head.bn1.running_var",
     SA2_F32,
     1,
     {32},
     0u,
     0x3dd987d0,
     0x3dc7dbf3,
     0x7f6ae6275fu},
    {"campplus",
     "head.bn1.running_mean",
     SA2_F32,
     1,
     {32},
     3u,
     0x3cdefc4d,
     0x3d2b789d,
     0xe4715ca395u},
    {"speech_tokenizer",
     "encoder.blocks.0.attn.query.weight",
     SA2_F32,
     2,
     {128, 128},
     0u,
     0xbdb7efb3,
     0xbd9ab338,
     0x3efe2353c29c6bdu},
};

static uint32_t bits_at(const void *values, sa2_dtype dtype, int64_t i)
{
    return dtype == SA2_BF16 ? ((const uint16_t *)values)[i] : ((const uint32_t *)values)[i];
}

static void values_follow_the_rule_bit_for_bit(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof facts / sizeof facts[0]; f++) {
        const value_fact *fact = &facts[f];
        sa2_tensor shape = {.dtype = fact->dtype, .ndim = fact->ndim};
        memcpy(shape.shape, fact->shape, sizeof shape.shape);
        shape.stride = sa2_tensor_row_count(&shape);
        int64_t n = sa2_tensor_count(&shape);
        void *values = malloc(sa2_tensor_bytes(&shape));
        assert_non_null(values);
        sa2_synthetic_fill(values, fact->role, fact->name, &shape, fact->seed, 0, n);
        uint64_t sum = 0;
        for (int64_t i = 0; i < n; i++)
            sum += (uint64_t)(i + 1) * bits_at(values, fact->dtype, i);
        if (bits_at(values, fact->dtype, 0) != fact->first || sum != fact->sum)
            print_error("%s/%s\n", fact->role, fact->name);
        assert_int_equal(bits_at(values, fact->dtype, 0), fact->first);
        assert_int_equal(bits_at(values, fact->dtype, n - 1), fact->last);
        assert_true(sum == fact->sum);
        free(values);
    }
}

static void ranges_put_together_are_the_whole(void **state)
{
    (void)state;
    sa2_tensor shape = sa2_tensor_2d(NULL, SA2_BF16, 37, 19);
    uint16_t whole[37 * 19], parts[37 * 19];
    sa2_synthetic_fill(whole, "model", "x.weight", &shape, 5, 0, 37 * 19);
    static const int cuts[] = {0, 1, 8, 100, 701, 703};
    for (int i = 0; i < 5; i++)
        sa2_synthetic_fill(parts + cuts[i], "model", "x.weight", &shape, 5, cuts[i],
                           cuts[i + 1] - cuts[i]);
    assert_memory_equal(whole, parts, sizeof whole);
}

static void the_release_has_832_tensors_of_its_published_size(void **state)
{
    (void)state;
    sa2_preset mini;
    sa2_tensor_list list = {0};
    assert_int_equal(sa2_preset_find(&mini, "mini", NULL), SA2_OK);
    assert_int_equal(sa2_expected_tensors(&list, &mini.config, NULL), SA2_OK);
    assert_int_equal(list.n, 832);
    assert_true(sa2_tensor_list_bytes(&list) == 16630358528u);
    sa2_tensor_list_destroy(&list);
}

static void a_synthetic_map_gives_every_tensor_with_several_threads(void **state)
{
    (void)state;
    sa2_preset tiny;
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    assert_int_equal(sa2_preset_find(&tiny, "tiny", NULL), SA2_OK);
    assert_int_equal(sa2_synthetic_map(&map, &tiny, 7, &err), SA2_OK);
    sa2_tensor_map_set_threads(map, 4);
    sa2_tensor head;
    assert_int_equal(
        sa2_tensor_map_expect(map, "lm_head.weight", 2, (int64_t[]){7680, 512}, &head, &err),
        SA2_OK);
    uint64_t sum = 0;
    for (int64_t i = 0; i < 7680 * 512; i++)
        sum += (uint64_t)(i + 1) * bits_at(head.data, SA2_BF16, i);
    assert_true(sum == facts[1].sum);
    assert_string_equal(sa2_tensor_map_find(map, "lm_head.weight")->origin, "preset tiny, seed 7");
    sa2_tensor_map_destroy(map);
}

static void fewer_layers_make_fewer_tensors(void **state)
{
    (void)state;
    sa2_preset mini;
    sa2_tensor_map *map = NULL;
    assert_int_equal(sa2_preset_find(&mini, "mini", NULL), SA2_OK);
    mini.config.decoder.layers = 2;
    mini.config.encoder.blocks = 1;
    assert_int_equal(sa2_synthetic_map(&map, &mini, 0, NULL), SA2_OK);
    assert_int_equal(sa2_tensor_map_count(map), 832 - 26 * 12 - 31 * 15);
    sa2_tensor_map_destroy(map);
}

static void an_unknown_preset_is_refused_by_name(void **state)
{
    (void)state;
    sa2_preset preset;
    sa2_error err = {0};
    assert_int_equal(sa2_preset_find(&preset, "huge", &err), SA2_ERR_ARG);
    assert_string_equal(err.message, "preset huge: tiny or mini expected");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_follow_the_rule_bit_for_bit),
        cmocka_unit_test(ranges_put_together_are_the_whole),
        cmocka_unit_test(the_release_has_832_tensors_of_its_published_size),
        cmocka_unit_test(a_synthetic_map_gives_every_tensor_with_several_threads),
        cmocka_unit_test(fewer_layers_make_fewer_tensors),
        cmocka_unit_test(an_unknown_preset_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Which slice of which tensor a rank has: together everything, nothing twice, and what cannot be dealt is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "loader/preset.h"
#include "loader/shard.h"

static sa2_decoder_config preset_config(const char *name)
{
    sa2_preset preset;
    assert_int_equal(sa2_preset_find(&preset, name, NULL), SA2_OK);
    return preset.config.decoder;
}

static sa2_shard shard_of(const sa2_decoder_config *config, int rank, int size)
{
    sa2_shard shard;
    assert_int_equal(sa2_shard_make(&shard, config, rank, size, NULL), SA2_OK);
    return shard;
}

static sa2_tensor_slice slice_of(const sa2_shard *shard, const char *name)
{
    sa2_tensor_slice slice;
    assert_true(sa2_shard_find(shard, name, &slice));
    return slice;
}

static void the_slices_of_all_ranks_are_the_tensor(void **state)
{
    (void)state;
    static const char *const configs[] = {"tiny", "mini"};
    for (int p = 0; p < 2; p++) {
        sa2_decoder_config c = preset_config(configs[p]);
        const struct {
            const char *name;
            int axis;
            int64_t n, unit;
        } tensors[] = {
            {"model.layers.0.self_attn.q_proj.weight", 0, c.heads * c.head_dim, c.head_dim},
            {"model.layers.1.self_attn.q_proj.bias", 0, c.heads * c.head_dim, c.head_dim},
            {"model.layers.2.self_attn.k_proj.weight", 0, c.kv_heads * c.head_dim, c.head_dim},
            {"model.layers.2.self_attn.k_proj.bias", 0, c.kv_heads * c.head_dim, c.head_dim},
            {"model.layers.2.self_attn.v_proj.weight", 0, c.kv_heads * c.head_dim, c.head_dim},
            {"model.layers.2.self_attn.v_proj.bias", 0, c.kv_heads * c.head_dim, c.head_dim},
            {"model.layers.0.self_attn.o_proj.weight", 1, c.heads * c.head_dim, c.head_dim},
            {"model.layers.0.mlp.gate_proj.weight", 0, c.ffn, SA2_SHARD_UNIT},
            {"model.layers.0.mlp.up_proj.weight", 0, c.ffn, SA2_SHARD_UNIT},
            {"model.layers.0.mlp.down_proj.weight", 1, c.ffn, SA2_SHARD_UNIT},
            {"lm_head.weight", 0, c.vocab, SA2_SHARD_UNIT},
        };
        for (int size = 2; size <= 4; size *= 2)
            for (size_t t = 0; t < sizeof tensors / sizeof tensors[0]; t++) {
                int64_t next = 0;
                for (int rank = 0; rank < size; rank++) {
                    sa2_shard shard = shard_of(&c, rank, size);
                    sa2_tensor_slice part = slice_of(&shard, tensors[t].name);
                    assert_int_equal(part.axis, tensors[t].axis);
                    assert_int_equal(part.slice.first, next);
                    assert_int_equal(part.slice.first % tensors[t].unit, 0);
                    assert_true(part.slice.n > 0);
                    next += part.slice.n;
                }
                assert_int_equal(next, tensors[t].n);
            }
    }
}

static void what_goes_to_no_single_rank_is_whole(void **state)
{
    (void)state;
    sa2_decoder_config c = preset_config("tiny");
    sa2_shard shard = shard_of(&c, 1, 2), alone = {0};
    sa2_tensor_slice slice;
    static const char *const names[] = {"model.layers.0.input_layernorm.weight",
                                        "model.layers.0.post_attention_layernorm.weight",
                                        "model.norm.weight", "model.embed_tokens.weight"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_false(sa2_shard_find(&shard, names[i], &slice));
    assert_false(sa2_shard_find(&alone, "lm_head.weight", &slice));
    sa2_decoder_config same = sa2_shard_config(&alone, &c);
    assert_memory_equal(&same, &c, sizeof c);
}

/* Columns and rows of a view are those of the tensor. */
static void a_view_shows_the_ranks_part(void **state)
{
    (void)state;
    sa2_decoder_config c = {.heads = 4, .kv_heads = 2, .head_dim = 2, .ffn = 64, .vocab = 64};
    sa2_shard shard = shard_of(&c, 1, 2);
    float values[3][8] = {{0}};
    sa2_tensor x = sa2_tensor_2d(values, SA2_F32, 3, 8);
    sa2_tensor columns = sa2_shard_view(&shard, "model.layers.0.self_attn.o_proj.weight", x);
    assert_int_equal(columns.shape[0], 3);
    assert_int_equal(columns.shape[1], 4);
    assert_ptr_equal(columns.data, &values[0][4]);
    assert_int_equal(columns.stride, 8);
    sa2_tensor bias = sa2_tensor_1d(values, SA2_F32, 4);
    bias = sa2_shard_view(&shard, "model.layers.0.self_attn.k_proj.bias", bias);
    assert_int_equal(bias.shape[0], 2);
    assert_ptr_equal(bias.data, &values[0][2]);
}

static void uneven_units_are_one_more_for_the_first_ranks(void **state)
{
    (void)state;
    sa2_decoder_config c = {
        .heads = 4, .kv_heads = 4, .head_dim = 64, .ffn = 32 * 5 + 3, .vocab = 128};
    static const int64_t widths[] = {64, 64, 32, 3};
    for (int rank = 0; rank < 4; rank++) {
        sa2_shard shard = shard_of(&c, rank, 4);
        assert_int_equal(shard.ffn.n, widths[rank]);
        assert_int_equal(sa2_shard_config(&shard, &c).ffn, widths[rank]);
        assert_int_equal(sa2_shard_config(&shard, &c).kv_heads, 1);
    }
}

static void assert_refused(const sa2_decoder_config *c, int size, const char *part)
{
    sa2_shard shard;
    sa2_error err = {0};
    assert_int_equal(sa2_shard_make(&shard, c, 0, size, &err), SA2_ERR_UNSUPPORTED);
    if (strstr(err.message, part) == NULL)
        fail_msg("\"%s\" expected in \"%s\"", part, err.message);
}

static void what_cannot_be_dealt_is_refused_with_the_reason(void **state)
{
    (void)state;
    sa2_decoder_config c = preset_config("mini");
    assert_refused(&c, 3, "3 ranks: a number that divides the model's 4 key-value heads");
    assert_refused(&c, 8, "8 ranks: a number that divides");
    c.ffn = 33;
    assert_refused(&c, 4, "33 feed-forward columns are dealt in units of 32");
    c.ffn = 18944;
    c.vocab = 90;
    assert_refused(&c, 4, "enough for 3 ranks");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_slices_of_all_ranks_are_the_tensor),
        cmocka_unit_test(what_goes_to_no_single_rank_is_whole),
        cmocka_unit_test(a_view_shows_the_ranks_part),
        cmocka_unit_test(uneven_units_are_one_more_for_the_first_ranks),
        cmocka_unit_test(what_cannot_be_dealt_is_refused_with_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* config.json: both published forms, and refusals that name every key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "loader/expected_tensors.h"
#include "loader/model_config.h"
#include "loader/preset.h"
#include "loader/synthetic.h"
#include "tests/support/test_files.h"

static const char flat_config[] =
    "{\"model_type\": \"step_audio_qwen2\", \"hidden_size\": 5120, \"intermediate_size\": 27648,\n"
    " \"num_attention_heads\": 40, \"num_attention_groups\": 8, \"num_key_value_heads\": 8,\n"
    " \"num_hidden_layers\": 64, \"vocab_size\": 158720, \"max_position_embeddings\": 65536,\n"
    " \"rms_norm_eps\": 1e-5, \"rope_theta\": 1000000, \"eos_token_id\": [151665, 151643],\n"
    " \"sliding_window\": 2048, \"use_sliding_window\": false,\n"
    " \"audio_encoder_config\": {\"n_mels\": 128, \"n_audio_ctx\": 1500, \"n_audio_state\": 1280,\n"
    "  \"n_audio_head\": 20, \"n_audio_layer\": 32, \"llm_dim\": 5120, \"kernel_size\": 3,\n"
    "  \"adapter_stride\": 2}}";

static sa2_status parse(const char *text, sa2_model_config *config, sa2_error *err)
{
    *err = (sa2_error){0};
    return sa2_model_config_parse(config, text, strlen(text), "c", err);
}

/* The text with one piece replaced; malloc'ed. */
static char *with(const char *text, const char *piece, const char *other)
{
    const char *at = strstr(text, piece);
    if (at == NULL)
        fail_msg("no %s in the text", piece);
    size_t n = strlen(text) + strlen(other) + 1;
    char *changed = malloc(n);
    assert_non_null(changed);
    snprintf(changed, n, "%.*s%s%s", (int)(at - text), text, other, at + strlen(piece));
    return changed;
}

static void expect_refusal(const char *piece, const char *other, sa2_status status,
                           const char *message)
{
    sa2_model_config config;
    sa2_error err;
    char *text = with(flat_config, piece, other);
    assert_int_equal(parse(text, &config, &err), status);
    assert_string_equal(err.message, message);
    free(text);
}

static void the_nested_form_gives_the_tiny_preset(void **state)
{
    (void)state;
    char path[512];
    sa2_model_config config;
    sa2_preset tiny;
    sa2_tensor_map *map = NULL;
    sa2_error err = {0};
    assert_int_equal(sa2_preset_find(&tiny, "tiny", &err), SA2_OK);
    test_data(path, sizeof path, "golden/tiny_checkpoint/config.json");
    assert_int_equal(sa2_model_config_read(&config, path, &err), SA2_OK);
    assert_int_equal(config.encoder.ffn, 0);
    assert_int_equal(config.adaptor.inner, 0);
    assert_int_equal(sa2_synthetic_map(&map, &tiny, 0, &err), SA2_OK);
    assert_int_equal(sa2_model_config_complete(&config, map, &err), SA2_OK);
    assert_memory_equal(&config, &tiny.config, sizeof config);
    sa2_tensor_map_destroy(map);
}

static void the_flat_form_is_read_too(void **state)
{
    (void)state;
    sa2_model_config config;
    sa2_error err;
    assert_int_equal(parse(flat_config, &config, &err), SA2_OK);
    assert_int_equal(config.decoder.hidden, 5120);
    assert_int_equal(config.decoder.head_dim, 128);
    assert_int_equal(config.decoder.kv_heads, 8);
    assert_int_equal(config.decoder.max_positions, 65536);
    assert_true(config.decoder.rms_norm_eps == 1e-5f);
    assert_int_equal(config.encoder.blocks, 32);
    assert_int_equal(config.adaptor.stride, 2);
    assert_int_equal(config.eos_id, 151665);
    assert_int_equal(config.pad_id, -1);

    config.encoder.ffn = 5120;
    config.adaptor.inner = 2048;
    sa2_tensor_list list = {0};
    assert_int_equal(sa2_expected_tensors(&list, &config, &err), SA2_OK);
    assert_true(sa2_tensor_list_bytes(&list) == 2 * 33487033600u); /* as published, in bf16 */
    sa2_tensor_list_destroy(&list);
}

static void what_is_written_is_the_file_of_the_release(void **state)
{
    (void)state;
    char path[512];
    sa2_preset tiny;
    assert_int_equal(sa2_preset_find(&tiny, "tiny", NULL), SA2_OK);
    test_data(path, sizeof path, "golden/tiny_checkpoint/config.json");
    char *text = sa2_model_config_json(&tiny.config);
    json_t *want = json_load_file(path, 0, NULL);
    json_t *found = json_loads(text, 0, NULL);
    assert_non_null(want);
    assert_true(json_equal(found, want));
    json_decref(found);
    json_decref(want);
    free(text);
}

static void every_missing_key_is_named(void **state)
{
    (void)state;
    sa2_model_config config;
    sa2_error err;
    assert_int_equal(parse("{\"text_config\": {\"hidden_size\": 64}}", &config, &err),
                     SA2_ERR_FORMAT);
    assert_string_equal(err.message, "c: text_config.num_hidden_layers: missing\n"
                                     "c: text_config.num_attention_heads: missing\n"
                                     "c: text_config.num_key_value_heads: missing\n"
                                     "c: text_config.intermediate_size: missing\n"
                                     "c: text_config.vocab_size: missing\n"
                                     "c: text_config.max_position_embeddings: missing\n"
                                     "c: text_config.rms_norm_eps: missing\n"
                                     "c: text_config.rope_theta: missing\n"
                                     "c: n_mels: missing\n"
                                     "c: n_audio_ctx: missing\n"
                                     "c: n_audio_state: missing\n"
                                     "c: n_audio_head: missing\n"
                                     "c: n_audio_layer: missing\n"
                                     "c: kernel_size: missing\n"
                                     "c: adapter_stride: missing");
}

static void values_without_sense_are_refused(void **state)
{
    (void)state;
    expect_refusal("\"hidden_size\": 5120", "\"hidden_size\": 0", SA2_ERR_FORMAT,
                   "c: hidden_size: 1 to 262144 expected, 0 found");
    expect_refusal("\"num_hidden_layers\": 64", "\"num_hidden_layers\": -64", SA2_ERR_FORMAT,
                   "c: num_hidden_layers: 1 to 1024 expected, -64 found");
    expect_refusal("\"vocab_size\": 158720", "\"vocab_size\": 9000000000", SA2_ERR_LIMIT,
                   "c: vocab_size: 1 to 4194304 expected, 9000000000 found");
    expect_refusal("\"vocab_size\": 158720", "\"vocab_size\": \"158720\"", SA2_ERR_FORMAT,
                   "c: vocab_size: not a whole number");
    expect_refusal("\"num_attention_heads\": 40", "\"num_attention_heads\": 48", SA2_ERR_FORMAT,
                   "c: num_attention_heads: does not divide hidden_size");
    expect_refusal("\"num_key_value_heads\": 8", "\"num_key_value_heads\": 7", SA2_ERR_FORMAT,
                   "c: num_key_value_heads: does not divide num_attention_heads\n"
                   "c: num_attention_groups: differs from num_key_value_heads");
    expect_refusal("\"num_attention_groups\": 8", "\"num_attention_groups\": 4", SA2_ERR_FORMAT,
                   "c: num_attention_groups: differs from num_key_value_heads");
    expect_refusal("\"rms_norm_eps\": 1e-5", "\"rms_norm_eps\": 0", SA2_ERR_FORMAT,
                   "c: rms_norm_eps: above 0 and at most 1 expected, 0 found");
    expect_refusal("\"rope_theta\": 1000000", "\"rope_theta\": null", SA2_ERR_FORMAT,
                   "c: rope_theta: not a number");
    expect_refusal("\"n_audio_head\": 20", "\"n_audio_head\": 19", SA2_ERR_FORMAT,
                   "c: audio_encoder_config.n_audio_head: does not divide n_audio_state");
    expect_refusal("\"llm_dim\": 5120", "\"llm_dim\": 3584", SA2_ERR_FORMAT,
                   "c: audio_encoder_config.llm_dim: differs from hidden_size");
    expect_refusal("[151665, 151643]", "-1", SA2_ERR_FORMAT, "c: eos_token_id: not a token id");
    expect_refusal("\"audio_encoder_config\": {", "\"audio_encoder_config\": 3, \"x\": {",
                   SA2_ERR_FORMAT, "c: audio_encoder_config.: not an object");
}

static void variants_that_are_not_computed_are_refused(void **state)
{
    (void)state;
    expect_refusal("\"use_sliding_window\": false", "\"use_sliding_window\": true",
                   SA2_ERR_UNSUPPORTED, "c: use_sliding_window: false expected, true found");
    expect_refusal("\"rope_theta\": 1000000",
                   "\"rope_theta\": 1000000, \"rope_scaling\": {\"type\": \"yarn\"}",
                   SA2_ERR_UNSUPPORTED, "c: rope_scaling: null expected");
    expect_refusal(
        "\"rope_theta\": 1000000",
        "\"rope_theta\": 1000000, \"tie_word_embeddings\": true, \"hidden_act\": \"gelu\"",
        SA2_ERR_UNSUPPORTED,
        "c: tie_word_embeddings: false expected, true found\n"
        "c: hidden_act: \"silu\" expected");
}

static void a_head_size_of_its_own_is_taken(void **state)
{
    (void)state;
    sa2_model_config config;
    sa2_error err;
    char *text = with(flat_config, "\"vocab_size\"", "\"head_dim\": 96, \"vocab_size\"");
    assert_int_equal(parse(text, &config, &err), SA2_OK);
    assert_int_equal(config.decoder.head_dim, 96);
    free(text);
}

static void text_that_is_not_json_is_refused_with_its_line(void **state)
{
    (void)state;
    sa2_model_config config;
    sa2_error err;
    assert_int_equal(parse("{\n\"a\": }", &config, &err), SA2_ERR_FORMAT);
    assert_string_equal(err.message, "c: line 2: unexpected token near '}'");
    assert_int_equal(parse("[]", &config, &err), SA2_ERR_FORMAT);
    assert_string_equal(err.message, "c: not a JSON object");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nested_form_gives_the_tiny_preset),
        cmocka_unit_test(the_flat_form_is_read_too),
        cmocka_unit_test(what_is_written_is_the_file_of_the_release),
        cmocka_unit_test(every_missing_key_is_named),
        cmocka_unit_test(values_without_sense_are_refused),
        cmocka_unit_test(variants_that_are_not_computed_are_refused),
        cmocka_unit_test(a_head_size_of_its_own_is_taken),
        cmocka_unit_test(text_that_is_not_json_is_refused_with_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

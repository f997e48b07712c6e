/* flow.yaml: the release's file, our own, every kind of mistake, and what tries to be code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/base/limits.h"
#include "loader/flow_yaml.h"
#include "loader/token2wav_tensors.h"
#include "tests/support/test_files.h"

/* The golden file with the first `before` replaced by `after`; malloc'ed. */
static char *changed(const char *before, const char *after)
{
    char path[512];
    char *text = test_read_file(
        test_data(path, sizeof path, "golden/tiny_checkpoint/token2wav/flow.yaml"), NULL);
    const char *at = strstr(text, before);
    assert_non_null(at);
    size_t bytes = strlen(text) + strlen(after) + 1;
    char *out = malloc(bytes);
    assert_non_null(out);
    snprintf(out, bytes, "%.*s%s%s", (int)(at - text), text, after, at + strlen(before));
    free(text);
    return out;
}

static void expect_refusal(const char *text, size_t bytes, sa2_status status, const char *message)
{
    sa2_flow_config config;
    sa2_error err = {0};
    char *copy = malloc(bytes + 1); /* of exact size, so that a byte read too far is seen */
    assert_non_null(copy);
    memcpy(copy, text, bytes);
    sa2_status st = sa2_flow_yaml_parse(&config, copy, bytes, "f", &err);
    free(copy);
    assert_string_equal(err.message, message);
    assert_int_equal(st, status);
}

static void expect_change_refused(const char *before, const char *after, sa2_status status,
                                  const char *message)
{
    char *text = changed(before, after);
    expect_refusal(text, strlen(text), status, message);
    free(text);
}

static sa2_flow_config preset_config(const char *name)
{
    sa2_preset preset;
    assert_int_equal(sa2_preset_find(&preset, name, NULL), SA2_OK);
    return sa2_token2wav_preset_dims(&preset.token2wav).flow;
}

/* ---- what is read ---- */

static void the_golden_file_has_the_dimensions_of_tiny(void **state)
{
    (void)state;
    char path[512];
    sa2_flow_config found, want = preset_config("tiny");
    sa2_error err = {0};
    test_data(path, sizeof path, "golden/tiny_checkpoint/token2wav/flow.yaml");
    assert_int_equal(sa2_flow_yaml_read(&found, path, &err), SA2_OK);
    assert_memory_equal(&found, &want, sizeof found);
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    char folder[256], path[512];
    sa2_flow_config odd = preset_config("mini");
    odd.width = 24;
    odd.heads = 3;
    odd.lookahead = 0;
    odd.up_stride = 5;
    odd.up_layers = 0;
    odd.guidance = 0.1f;
    odd.dit_width = 12;
    odd.dit_heads = 4;
    odd.dit_head_dim = 3;
    odd.dit_ffn = 40; /* 3.333… times the width */
    const sa2_flow_config cases[] = {preset_config("tiny"), preset_config("mini"), odd};
    test_folder_create(folder, sizeof folder);
    snprintf(path, sizeof path, "%s/flow.yaml", folder);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sa2_flow_config found;
        sa2_error err = {0};
        assert_int_equal(sa2_flow_yaml_write(&cases[i], path, &err), SA2_OK);
        sa2_flow_yaml_read(&found, path, &err);
        assert_string_equal(err.message, "");
        assert_memory_equal(&found, &cases[i], sizeof found);
    }
    test_folder_remove(folder);
}

static void keys_that_nobody_needs_are_passed_over(void **state)
{
    (void)state;
    sa2_flow_config found, want = preset_config("tiny");
    sa2_error err = {0};
    char *text = changed("flow: ", "sample_rate: 24000\n"
                                   "notes: [a, {flow: {input_size: 7}}, !!str 5]\n"
                                   "mel: {bins: 80, encoder: {num_blocks: many}}\n"
                                   "flow: ");
    assert_int_equal(sa2_flow_yaml_parse(&found, text, strlen(text), "f", &err), SA2_OK);
    assert_memory_equal(&found, &want, sizeof found);
    free(text);
    text = changed("    key_bias: true\n", ""); /* the default of the class */
    assert_int_equal(sa2_flow_yaml_parse(&found, text, strlen(text), "f", &err), SA2_OK);
    free(text);
}

/* ---- mistakes ---- */

static void every_missing_key_is_in_one_report(void **state)
{
    (void)state;
    static const char text[] = "flow: !new:a.CausalMaskedDiffWithXvec\n"
                               "  input_size: 8\n";
    static const char *const missing[] = {
        "flow.output_size",
        "flow.spk_embed_dim",
        "flow.vocab_size",
        "flow.encoder.input_size",
        "flow.encoder.output_size",
        "flow.encoder.pre_lookahead_len",
        "flow.encoder.num_blocks",
        "flow.encoder.num_up_blocks",
        "flow.encoder.up_stride",
        "flow.encoder.up_scale_factor",
        "flow.encoder.attention_heads",
        "flow.encoder.linear_units",
        "flow.decoder.inference_cfg_rate",
        "flow.decoder.estimator.in_channels",
        "flow.decoder.estimator.out_channels",
        "flow.decoder.estimator.mlp_ratio",
        "flow.decoder.estimator.depth",
        "flow.decoder.estimator.num_heads",
        "flow.decoder.estimator.head_dim",
        "flow.decoder.estimator.hidden_size",
    };
    char want[2048] = "";
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
        size_t used = strlen(want);
        snprintf(want + used, sizeof want - used, "%sf: %s is missing", i > 0 ? "\n" : "",
                 missing[i]);
    }
    expect_refusal(text, sizeof text - 1, SA2_ERR_FORMAT, want);
}

static void numbers_out_of_range_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"0",   "-3",  "1e30", "2.5", "many",
                                      "nan", "inf", "''",   "4x",  "~"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char after[64], message[256];
        snprintf(after, sizeof after, "attention_heads: %s", bad[i]);
        snprintf(message, sizeof message,
                 "f: flow.encoder.attention_heads: %s, a whole number from 1 to 1024 expected",
                 bad[i][0] == '\'' ? "" : bad[i]);
        expect_change_refused("attention_heads: 2", after, SA2_ERR_FORMAT, message);
    }
    expect_change_refused("attention_heads: 2", "attention_heads: \"2\\0x\"", SA2_ERR_FORMAT,
                          "f: flow.encoder.attention_heads: a zero byte in a value\n"
                          "f: flow.encoder.attention_heads is missing");
    expect_change_refused("inference_cfg_rate: 0.7", "inference_cfg_rate: -0.7", SA2_ERR_FORMAT,
                          "f: flow.decoder.inference_cfg_rate: -0.7, a number from 0 to 100 "
                          "expected");
    expect_change_refused("vocab_size: 6561", "vocab_size: [6561]", SA2_ERR_FORMAT,
                          "f: flow.vocab_size is missing");
}

static void numbers_that_do_not_fit_together_are_refused(void **state)
{
    (void)state;
    expect_change_refused("    input_size: 128", "    input_size: 64", SA2_ERR_FORMAT,
                          "f: flow.input_size is 128, flow.encoder.input_size is 64: equal ones "
                          "expected");
    expect_change_refused("up_scale_factor: 2", "up_scale_factor: 3", SA2_ERR_FORMAT,
                          "f: flow.encoder.up_stride is 2, flow.encoder.up_scale_factor is 3: "
                          "equal ones expected");
    expect_change_refused("in_channels: 320", "in_channels: 240", SA2_ERR_FORMAT,
                          "f: 4 * flow.output_size is 320, flow.decoder.estimator.in_channels is "
                          "240: equal ones expected");
    expect_change_refused("head_dim: 64", "head_dim: 32", SA2_ERR_FORMAT,
                          "f: num_heads * head_dim of flow.decoder.estimator is 64, hidden_size is "
                          "128: equal ones expected");
    expect_change_refused("attention_heads: 2", "attention_heads: 3", SA2_ERR_FORMAT,
                          "f: flow.encoder: 3 attention_heads do not divide output_size 128");
    expect_change_refused("mlp_ratio: 4.0", "mlp_ratio: 0.001", SA2_ERR_FORMAT,
                          "f: flow.decoder.estimator: mlp_ratio * hidden_size is 0.128, a whole "
                          "number from 1 to 262144 expected");
}

static void a_key_twice_is_refused(void **state)
{
    (void)state;
    expect_change_refused("    num_blocks: 2\n", "    num_blocks: 2\n    num_blocks: 9\n",
                          SA2_ERR_FORMAT, "f: flow.encoder.num_blocks is there twice");
    char *text = changed("flow: ", "flow: !new:a.CausalMaskedDiffWithXvec {input_size: 9}\nflow: ");
    expect_refusal(text, strlen(text), SA2_ERR_FORMAT,
                   "f: flow is there twice\nf: flow.input_size is there twice");
    free(text);
}

static void other_implementations_are_refused(void **state)
{
    (void)state;
    expect_change_refused("\"rel_selfattn\"", "\"selfattn\"", SA2_ERR_UNSUPPORTED,
                          "f: flow.encoder.selfattention_layer_type: selfattn, only rel_selfattn "
                          "can be used");
    expect_change_refused("key_bias: true", "key_bias: False", SA2_ERR_UNSUPPORTED,
                          "f: flow.encoder.key_bias: False, only true can be used");
    expect_change_refused("decoder_dit.DiT", "decoder_unet.UNet", SA2_ERR_UNSUPPORTED,
                          "f: flow.decoder.estimator: tag !new:cosyvoice2.flow.decoder_unet.UNet, "
                          "only !new: and a class DiT can be used");
}

/* ---- hostile files ---- */

static void tags_that_make_or_call_something_are_refused(void **state)
{
    (void)state;
    expect_change_refused("!new:cosyvoice2.flow.decoder_dit.DiT", "!name:x.DiT",
                          SA2_ERR_UNSUPPORTED,
                          "f: flow.decoder.estimator: tag !name:x.DiT, only !new: and a class DiT "
                          "can be used");
    expect_change_refused("depth: 3", "depth: !!python/object/apply:os.system ['x']",
                          SA2_ERR_UNSUPPORTED,
                          "f: flow.decoder.estimator.depth: tag "
                          "tag:yaml.org,2002:python/object/apply:os.system on a mapping\n"
                          "f: flow.decoder.estimator.depth is missing");
    expect_change_refused("depth: 3", "depth: !include /etc/passwd", SA2_ERR_UNSUPPORTED,
                          "f: flow.decoder.estimator.depth: tag !include on a value\n"
                          "f: flow.decoder.estimator.depth is missing");
    expect_change_refused("flow: ", "x: !new:os.system {}\nflow: ", SA2_ERR_UNSUPPORTED,
                          "f: x: tag !new:os.system on a mapping");
}

static void an_alias_bomb_is_refused_at_its_first_anchor(void **state)
{
    (void)state;
    static const char text[] = "a: &a [x, x, x, x, x, x, x, x, x]\n"
                               "b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n"
                               "c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\n";
    expect_refusal(text, sizeof text - 1, SA2_ERR_UNSUPPORTED,
                   "f: line 1: anchors and aliases are not read");
    static const char merge[] = "a: 1\n<<: *nothing\n";
    expect_refusal(merge, sizeof merge - 1, SA2_ERR_UNSUPPORTED,
                   "f: line 2: anchors and aliases are not read");
}

static void depth_is_limited(void **state)
{
    (void)state;
    char text[1 << 16];
    memset(text, '[', sizeof text);
    expect_refusal(text, sizeof text, SA2_ERR_LIMIT, "f: line 1: deeper than 16 levels");
    for (size_t i = 0; i + 2 <= sizeof text; i += 2)
        memcpy(text + i, "- ", 2);
    expect_refusal(text, sizeof text, SA2_ERR_LIMIT, "f: line 1: deeper than 16 levels");
}

static void size_is_limited(void **state)
{
    (void)state;
    size_t bytes = SA2_LIMIT_CONFIG_BYTES + 1;
    char *text = calloc(1, bytes);
    assert_non_null(text);
    expect_refusal(text, bytes, SA2_ERR_LIMIT, "f: 16777217 bytes, 16777216 can be read");
    free(text);
}

static void long_keys_and_keys_that_are_no_text_are_refused(void **state)
{
    (void)state;
    char text[512];
    memset(text, 'k', sizeof text);
    memcpy(text + 300, ": 1\n", 4);
    expect_refusal(text, 304, SA2_ERR_LIMIT, "f: line 1: a key of 300 bytes");
    static const char zero[] = "\"a\\0b\": 1\n";
    expect_refusal(zero, sizeof zero - 1, SA2_ERR_LIMIT, "f: line 1: a key of 3 bytes");
    static const char list[] = "? [a, b]\n: 1\n";
    expect_refusal(list, sizeof list - 1, SA2_ERR_FORMAT, "f: line 1: a key that is no text");
}

static void what_is_no_single_document_is_refused(void **state)
{
    (void)state;
    expect_change_refused("# flow", "--- {}\n--- # flow", SA2_ERR_FORMAT, "f: two documents");
    static const char broken[] = "flow: {a: 1\n";
    expect_refusal(broken, sizeof broken - 1, SA2_ERR_FORMAT,
                   "f: line 2: did not find expected ',' or '}'");
    static const char bytes[] = "flow: \xff\xfe\n";
    expect_refusal(bytes, sizeof bytes - 1, SA2_ERR_FORMAT,
                   "f: line 1: invalid leading UTF-8 octet");
}

static void a_file_that_is_cut_short_is_refused_at_every_line(void **state)
{
    (void)state;
    char *text = changed("flow: ", "flow: ");
    int lines = 0;
    for (char *end = strrchr(text, '\n'); end != NULL; end = strrchr(text, '\n'), lines++) {
        sa2_flow_config config;
        sa2_error err = {0};
        end[0] = '\0';
        sa2_status st = sa2_flow_yaml_parse(&config, text, strlen(text), "f", &err);
        assert_int_equal(st == SA2_OK, lines == 0); /* the last line is whole without its end */
        assert_int_equal(err.message[0] == '\0', lines == 0);
    }
    assert_int_equal(lines, 35);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_file_has_the_dimensions_of_tiny),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(keys_that_nobody_needs_are_passed_over),
        cmocka_unit_test(every_missing_key_is_in_one_report),
        cmocka_unit_test(numbers_out_of_range_are_refused),
        cmocka_unit_test(numbers_that_do_not_fit_together_are_refused),
        cmocka_unit_test(a_key_twice_is_refused),
        cmocka_unit_test(other_implementations_are_refused),
        cmocka_unit_test(tags_that_make_or_call_something_are_refused),
        cmocka_unit_test(an_alias_bomb_is_refused_at_its_first_anchor),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(size_is_limited),
        cmocka_unit_test(long_keys_and_keys_that_are_no_text_are_refused),
        cmocka_unit_test(what_is_no_single_document_is_refused),
        cmocka_unit_test(a_file_that_is_cut_short_is_refused_at_every_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

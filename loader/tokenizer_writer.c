#include "loader/tokenizer_writer.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loader/output_file.h"

enum {
    PATH_BYTES = 4096,
    PLAIN = JSON_COMPACT | JSON_PRESERVE_ORDER,
};

/* How Qwen2 cuts text before BPE: contractions, words with a leading mark or space, single digits,
 * runs of marks, white space. From tokenizer.json of Qwen/Qwen2.5-7B. */
static const char split_pattern[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
                                    "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
                                    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/* ---- pieces ---- */

static json_t *vocab_object(const sa2_vocab_file *vocab)
{
    json_t *object = json_object();
    for (int i = 0; i < vocab->n_vocab; i++)
        json_object_set_new(object, vocab->vocab[i].symbols, json_integer(vocab->vocab[i].id));
    return object;
}

static json_t *merge_list(const sa2_vocab_file *vocab)
{
    json_t *list = json_array();
    for (int i = 0; i < vocab->n_merges; i++)
        json_array_append_new(list,
                              json_sprintf("%s %s", vocab->merges[i].left, vocab->merges[i].right));
    return list;
}

static json_t *added_list(const sa2_vocab_file *vocab)
{
    json_t *list = json_array();
    for (int i = 0; i < vocab->n_added; i++)
        json_array_append_new(
            list, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", vocab->added[i].id,
                            "content", vocab->added[i].content, "single_word", 0, "lstrip", 0,
                            "rstrip", 0, "normalized", 0, "special", vocab->added[i].special));
    return list;
}

static json_t *added_decoder(const sa2_vocab_file *vocab)
{
    json_t *object = json_object();
    char id[16];
    for (int i = 0; i < vocab->n_added; i++) {
        snprintf(id, sizeof id, "%d", (int)vocab->added[i].id);
        json_object_set_new(object, id,
                            json_pack("{s:s, s:b, s:b, s:b, s:b, s:b}", "content",
                                      vocab->added[i].content, "lstrip", 0, "normalized", 0,
                                      "rstrip", 0, "single_word", 0, "special",
                                      vocab->added[i].special));
    }
    return object;
}

/* Special tokens but eos, which has a key of its own. */
static json_t *additional_special_tokens(const sa2_vocab_file *vocab)
{
    json_t *list = json_array();
    for (int i = 0; i < vocab->n_added; i++)
        if (vocab->added[i].special && strcmp(vocab->added[i].content, vocab->eos) != 0)
            json_array_append_new(list, json_string(vocab->added[i].content));
    return list;
}

static json_t *byte_level(void)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 0, "use_regex", 0);
}

/* ---- files ---- */

static json_t *tokenizer_json(const sa2_vocab_file *vocab)
{
    json_t *split = json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex",
                              split_pattern, "behavior", "Isolated", "invert", 0);
    json_t *model = json_pack(
        "{s:s, s:n, s:n, s:s, s:s, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout", "unk_token",
        "continuing_subword_prefix", "", "end_of_word_suffix", "", "fuse_unk", 0, "byte_fallback",
        0, "ignore_merges", 0, "vocab", vocab_object(vocab), "merges", merge_list(vocab));
    return json_pack("{s:s, s:n, s:n, s:o, s:{s:s}, s:{s:s, s:[o, o]}, s:o, s:o, s:o}", "version",
                     "1.0", "truncation", "padding", "added_tokens", added_list(vocab),
                     "normalizer", "type", "NFC", "pre_tokenizer", "type", "Sequence",
                     "pretokenizers", split, byte_level(), "post_processor", byte_level(),
                     "decoder", byte_level(), "model", model);
}

static json_t *tokenizer_config(const sa2_vocab_file *vocab, int max_positions)
{
    return json_pack("{s:b, s:b, s:o, s:o, s:n, s:b, s:s, s:s, s:i, s:s, s:b, s:s, s:n}",
                     "add_bos_token", 0, "add_prefix_space", 0, "added_tokens_decoder",
                     added_decoder(vocab), "additional_special_tokens",
                     additional_special_tokens(vocab), "bos_token", "clean_up_tokenization_spaces",
                     0, "eos_token", vocab->eos, "errors", "replace", "model_max_length",
                     max_positions, "pad_token", vocab->pad, "split_special_tokens", 0,
                     "tokenizer_class", "Qwen2Tokenizer", "unk_token");
}

static json_t *named_token(const char *content)
{
    return json_pack("{s:s, s:b, s:b, s:b, s:b}", "content", content, "lstrip", 0, "normalized", 0,
                     "rstrip", 0, "single_word", 0);
}

static json_t *special_tokens_map(const sa2_vocab_file *vocab)
{
    return json_pack("{s:o, s:o, s:o}", "additional_special_tokens",
                     additional_special_tokens(vocab), "eos_token", named_token(vocab->eos),
                     "pad_token", named_token(vocab->pad));
}

static json_t *added_tokens(const sa2_vocab_file *vocab)
{
    json_t *object = json_object();
    for (int i = 0; i < vocab->n_added; i++)
        json_object_set_new(object, vocab->added[i].content, json_integer(vocab->added[i].id));
    return object;
}

/* "#version" and one merge a line; malloc'ed, or NULL. */
static char *merges_text(const sa2_vocab_file *vocab)
{
    static const char version[] = "#version: 0.2\n";
    size_t bytes = sizeof version;
    for (int i = 0; i < vocab->n_merges; i++)
        bytes += strlen(vocab->merges[i].left) + strlen(vocab->merges[i].right) + 2;
    char *text = malloc(bytes);
    if (text == NULL)
        return NULL;
    char *to = text + snprintf(text, bytes, "%s", version);
    for (int i = 0; i < vocab->n_merges; i++)
        to += snprintf(to, bytes - (size_t)(to - text), "%s %s\n", vocab->merges[i].left,
                       vocab->merges[i].right);
    return text;
}

/* ---- the folder ---- */

/* Frees the text; NULL means that memory ran out while it was made. */
static sa2_status write_text(const char *folder, const char *name, char *text, sa2_error *err)
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    sa2_status st;
    if (text == NULL)
        st = sa2_fail(err, SA2_ERR_NOMEM, "%s: no memory", name);
    else if (n < 0 || n >= PATH_BYTES)
        st = sa2_fail(err, SA2_ERR_ARG, "%s: the path is too long", folder);
    else
        st = sa2_write_whole_file(path, text, strlen(text), err);
    free(text);
    return st;
}

/* The text of a value, with a newline at its end; takes the value. */
static char *text_of(json_t *value, size_t format)
{
    size_t n = value != NULL ? json_dumpb(value, NULL, 0, format) : 0;
    char *text = n > 0 ? malloc(n + 2) : NULL;
    if (text != NULL) {
        json_dumpb(value, text, n, format);
        memcpy(text + n, "\n", 2);
    }
    json_decref(value);
    return text;
}

sa2_status sa2_tokenizer_write(const char *folder, const sa2_vocab_file *vocab, int max_positions,
                               sa2_error *err)
{
    sa2_status st = write_text(folder, "vocab.json", text_of(vocab_object(vocab), PLAIN), err);
    if (st == SA2_OK)
        st = write_text(folder, "merges.txt", merges_text(vocab), err);
    if (st == SA2_OK)
        st = write_text(folder, "tokenizer.json", text_of(tokenizer_json(vocab), PLAIN), err);
    if (st == SA2_OK)
        st = write_text(folder, "tokenizer_config.json",
                        text_of(tokenizer_config(vocab, max_positions), PLAIN), err);
    if (st == SA2_OK)
        st = write_text(folder, "special_tokens_map.json",
                        text_of(special_tokens_map(vocab), JSON_INDENT(2) | JSON_PRESERVE_ORDER),
                        err);
    if (st == SA2_OK)
        st = write_text(folder, "added_tokens.json",
                        text_of(added_tokens(vocab), JSON_COMPACT | JSON_SORT_KEYS), err);
    return st;
}

#include "tests/support/test_tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/support/test_files.h"

static void read_vocab(test_tokenizer_file *file, json_t *vocab)
{
    size_t n = 0;
    const char *symbols;
    json_t *id;
    file->vocab = calloc(json_object_size(vocab), sizeof *file->vocab);
    json_object_foreach(vocab, symbols, id) file->vocab[n++] =
        (sa2_vocab_entry){symbols, (int32_t)json_integer_value(id)};
    file->source.vocab = file->vocab;
    file->source.n_vocab = n;
}

/* "left right" or ["left", "right"]; the first form is cut in two where it lies. */
static void read_merges(test_tokenizer_file *file, json_t *merges)
{
    size_t i;
    json_t *line;
    file->merges = calloc(json_array_size(merges), sizeof *file->merges);
    json_array_foreach(merges, i, line)
    {
        if (json_is_array(line)) {
            file->merges[i].left = json_string_value(json_array_get(line, 0));
            file->merges[i].right = json_string_value(json_array_get(line, 1));
            continue;
        }
        const char *text = json_string_value(line);
        size_t n = strcspn(text, " ");
        json_t *pair = json_pack("[s%, s]", text, n, text + n + 1);
        file->merges[i].left = json_string_value(json_array_get(pair, 0));
        file->merges[i].right = json_string_value(json_array_get(pair, 1));
        json_array_set_new(merges, i, pair);
    }
    file->source.merges = file->merges;
    file->source.n_merges = json_array_size(merges);
}

static void read_added(test_tokenizer_file *file, json_t *added)
{
    size_t i;
    json_t *token;
    file->added = calloc(json_array_size(added), sizeof *file->added);
    json_array_foreach(added, i, token)
    {
        file->added[i] = (sa2_added_entry){
            .content = json_string_value(json_object_get(token, "content")),
            .id = (int32_t)json_integer_value(json_object_get(token, "id")),
            .special = json_is_true(json_object_get(token, "special")),
        };
    }
    file->source.added = file->added;
    file->source.n_added = json_array_size(added);
}

void test_tokenizer_file_read(test_tokenizer_file *file, const char *folder)
{
    *file = (test_tokenizer_file){0};
    char path[1024];
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (root == NULL)
        fail_msg("%s: %s", path, error.text);
    json_t *model = json_object_get(root, "model");
    file->document = root;
    read_vocab(file, json_object_get(model, "vocab"));
    read_merges(file, json_object_get(model, "merges"));
    read_added(file, json_object_get(root, "added_tokens"));
}

void test_tokenizer_file_free(test_tokenizer_file *file)
{
    free(file->vocab);
    free(file->merges);
    free(file->added);
    json_decref(file->document);
}

void test_tokenizer_load(test_tokenizer *t, const char *folder)
{
    test_tokenizer_file file;
    sa2_error err = {0};
    test_tokenizer_file_read(&file, folder);
    if (sa2_tokenizer_create(&t->tokenizer, &file.source, &err) != SA2_OK ||
        sa2_encoder_create(&t->encoder, t->tokenizer, &err) != SA2_OK ||
        sa2_special_find(&t->special, t->tokenizer, &err) != SA2_OK)
        fail_msg("%s", err.message);
    test_tokenizer_file_free(&file);
}

void test_tokenizer_free(test_tokenizer *t)
{
    sa2_encoder_destroy(t->encoder);
    sa2_tokenizer_destroy(t->tokenizer);
}

void test_tokenizer_tiny(test_tokenizer *t)
{
    char path[1024];
    test_tokenizer_load(t, test_data(path, sizeof path, "golden/tiny_tokenizer"));
}

bool test_tokenizer_release(test_tokenizer *t)
{
    const char *folder = getenv("SA2_QWEN2_TOKENIZER");
    if (folder == NULL) {
        printf("skipped: SA2_QWEN2_TOKENIZER names no folder\n");
        return false;
    }
    test_tokenizer_load(t, folder);
    return true;
}

int test_audio_patches(int64_t n_samples, bool fork_rule)
{
    int64_t q = (n_samples + 159) / 160;
    return (int)(((q + (fork_rule ? 3 : 1)) / 4 + 1) / 2);
}

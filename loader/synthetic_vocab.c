#include "loader/synthetic_vocab.h"

#include <stdio.h>
#include <string.h>

#include "loader/synthetic_merges.h"
#include "loader/vocab_builder.h"

enum {
    BYTES = 256,
    LEARNED = BYTES + SA2_SYNTHETIC_MERGES,
    SYMBOL_BYTES = 64, /* the longest learned entry has 30 */
    AUDIO_TOKENS = 6562,
};

typedef struct named_token {
    const char *content;
    bool special;
} named_token;

/* In the order of their ids. */
static const named_token named_tokens[] = {
    {"<|endoftext|>", true},
    {"<|im_start|>", true},
    {"<|im_end|>", true},
    {"<|object_ref_start|>", true},
    {"<|object_ref_end|>", true},
    {"<|box_start|>", true},
    {"<|box_end|>", true},
    {"<|quad_start|>", true},
    {"<|quad_end|>", true},
    {"<|vision_start|>", true},
    {"<|vision_end|>", true},
    {"<|vision_pad|>", true},
    {"<|image_pad|>", true},
    {"<|video_pad|>", true},
    {"<tool_call>", false},
    {"</tool_call>", false},
    {"<|fim_prefix|>", false},
    {"<|fim_middle|>", false},
    {"<|fim_suffix|>", false},
    {"<|fim_pad|>", false},
    {"<|repo_name|>", false},
    {"<|file_sep|>", false},
    {"<|EOT|>", true},
    {"<|BOT|>", true},
    {"<|CALL_START|>", true},
    {"<|CALL_END|>", true},
    {"<|THINK_START|>", true},
    {"<|THINK_END|>", true},
    {"<|IMG_START|>", true},
    {"<|IMG_END|>", true},
    {"<|META_START|>", true},
    {"<|META_END|>", true},
    {"<im_patch>", true},
    {"<im_start>", true},
    {"<im_end>", true},
    {"<dream>", true},
    {"<dream_start>", true},
    {"<dream_end>", true},
    {"<|MASK_1e69f|>", true},
    {"<|UNMASK_1e69f|>", true},
    {"<video_start>", true},
    {"<video_end>", true},
    {"<patch_start>", true},
    {"<patch_end>", true},
    {"<patch_newline>", true},
    {"<audio_start>", true},
    {"<audio_end>", true},
    {"<audio_patch>", true},
    {"<audio_patch_pad>", true},
    {"<|SC|>", true},
    {"<tts_start>", true},
    {"<tts_end>", true},
    {"<tts_pad>", true},
};

enum { NAMED = (int)(sizeof named_tokens / sizeof named_tokens[0]) };

/* ---- entries ---- */

typedef char symbol[SYMBOL_BYTES];

static bool is_printable(int byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/* UTF-8 of a code point below U+0800. */
static void write_symbol(symbol out, int code)
{
    if (code < 0x80)
        snprintf(out, SYMBOL_BYTES, "%c", code);
    else
        snprintf(out, SYMBOL_BYTES, "%c%c", 0xc0 | code >> 6, 0x80 | (code & 0x3f));
}

/* The byte symbols of GPT-2 and Qwen2: first the bytes that are printable characters of Latin-1, each as
 * itself, then the others as U+0100 and up. */
static void write_byte_symbols(symbol *symbols)
{
    int n = 0;
    for (int byte = 0; byte < BYTES; byte++)
        if (is_printable(byte))
            write_symbol(symbols[n++], byte);
    for (int code = 0x100; n < BYTES; code++)
        write_symbol(symbols[n++], code);
}

static void add_learned(sa2_vocab_builder *b, const char *origin, symbol *symbols)
{
    write_byte_symbols(symbols);
    for (int r = 0; r < SA2_SYNTHETIC_MERGES; r++) {
        const char *left = symbols[sa2_synthetic_merges[r][0]];
        const char *right = symbols[sa2_synthetic_merges[r][1]];
        strcpy(symbols[BYTES + r], left);
        strncat(symbols[BYTES + r], right, SYMBOL_BYTES - 1 - strlen(left));
        sa2_vocab_add_merge(b, origin, left, strlen(left), right, strlen(right));
    }
    for (int id = 0; id < LEARNED; id++)
        sa2_vocab_add_entry(b, origin, symbols[id], id);
}

static void add_tokens(sa2_vocab_builder *b, const char *origin, int first)
{
    char content[SYMBOL_BYTES];
    for (int i = 0; i < NAMED; i++)
        sa2_vocab_add_added(b, origin, named_tokens[i].content, first + i, named_tokens[i].special);
    for (int code = 0; code < AUDIO_TOKENS; code++) {
        snprintf(content, sizeof content, "<audio_%d>", code);
        sa2_vocab_add_added(b, origin, content, first + NAMED + code, false);
    }
    b->vocab.eos = sa2_vocab_text(b, named_tokens[0].content);
    b->vocab.pad = b->vocab.eos;
}

sa2_status sa2_synthetic_vocab(sa2_vocab_file *vocab, const sa2_preset *preset, sa2_error *err)
{
    symbol symbols[LEARNED];
    char placeholder[SYMBOL_BYTES];
    sa2_vocab_builder b = {.err = err};
    add_learned(&b, preset->name, symbols);
    for (int id = LEARNED; id < preset->vocab_entries; id++) {
        snprintf(placeholder, sizeof placeholder, "<unused_%d>", id);
        sa2_vocab_add_entry(&b, preset->name, placeholder, id);
    }
    add_tokens(&b, preset->name, preset->vocab_entries);
    sa2_status st = sa2_vocab_builder_finish(&b, vocab);
    sa2_vocab_builder_destroy(&b);
    return st;
}

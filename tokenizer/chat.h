/* chat.h - a conversation as the caller of the model gives it.
 *
 * Plain views: whoever fills the structs owns what they point to. chat_json.h fills them from a
 * request, chat_template.h turns them into ids.
 */
#ifndef SA2_TOKENIZER_CHAT_H
#define SA2_TOKENIZER_CHAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum sa2_chat_item_kind {
    SA2_CHAT_TEXT = 0,
    SA2_CHAT_AUDIO,
    SA2_CHAT_IDS, /* token ids of an earlier answer, put in as they are */
} sa2_chat_item_kind;

/* Where the sound of an audio item is; the template does not look at it. */
typedef enum sa2_audio_from {
    SA2_AUDIO_FROM_CALLER = 0, /* the caller knows */
    SA2_AUDIO_FROM_PATH,       /* source: the name of a file */
    SA2_AUDIO_FROM_URL,        /* source: a URL, data: among them */
    SA2_AUDIO_FROM_BASE64,     /* source: base64 of a sound file */
    SA2_AUDIO_FROM_SAMPLES,    /* n_samples of 16 kHz that do not matter: for tests */
} sa2_audio_from;

typedef struct sa2_chat_item {
    sa2_chat_item_kind kind;

    const char *text; /* SA2_CHAT_TEXT, UTF-8 */
    size_t n_bytes;

    const int32_t *ids; /* SA2_CHAT_IDS */
    size_t n_ids;

    sa2_audio_from audio_from; /* SA2_CHAT_AUDIO */
    const char *source;
    size_t n_source;
    int64_t n_samples;
    const int *chunk_patches; /* rows of the adaptor of each chunk of at most 25 s; 0 is possible */
    size_t n_chunks;
} sa2_chat_item;

typedef struct sa2_chat_tool_call {
    const char *id; /* NULL: none */
    const char *name;
    const char *arguments; /* JSON text; NULL counts as {} */
} sa2_chat_tool_call;

typedef enum sa2_chat_content {
    SA2_CONTENT_NULL = 0, /* absent too */
    SA2_CONTENT_STRING,   /* one text item */
    SA2_CONTENT_LIST,     /* of any items, also of none */
} sa2_chat_content;

typedef struct sa2_chat_message {
    const char *role; /* NULL: the prompt of a base model, for sa2_base_prompt() alone */
    sa2_chat_content content;
    const sa2_chat_item *items;
    size_t n_items;
    bool open; /* the turn is not closed: `"eot": false` */

    /* A spoken answer of the past: its text, and its codes as <audio_N><audio_N>... */
    bool spoken;
    const char *tts_text;
    size_t n_tts_text;
    const char *tts_audio;
    size_t n_tts_audio;

    const sa2_chat_tool_call *tool_calls;
    size_t n_tool_calls;
    const char *tool_call_id; /* which call a message of role tool answers; NULL: unknown */
} sa2_chat_message;

/* Roles whose text may hold control tokens: the assistant's has <tts_start>. All others are what
 * users and tools say. */
bool sa2_chat_role_is_trusted(const char *role);

typedef enum sa2_flag {
    SA2_FLAG_UNSET = 0,
    SA2_FLAG_NO,
    SA2_FLAG_YES,
} sa2_flag;

typedef struct sa2_chat {
    const sa2_chat_message *messages;
    size_t n_messages;
    const char
        *tools; /* JSON array of {type, function{name, description, parameters}}; NULL: none */
    sa2_flag add_generation_prompt;
    sa2_flag continue_final_message;
} sa2_chat;

#endif

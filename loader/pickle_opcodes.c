#include "loader/pickle_opcodes.h"

#include <stddef.h>

const char *sa2_pickle_opcode_name(int op)
{
    static const char *const ascii[128] = {
        ['('] = "MARK",        [')'] = "EMPTY_TUPLE",
        ['.'] = "STOP",        ['0'] = "POP",
        ['1'] = "POP_MARK",    ['2'] = "DUP",
        ['B'] = "BINBYTES",    ['C'] = "SHORT_BINBYTES",
        ['F'] = "FLOAT",       ['G'] = "BINFLOAT",
        ['I'] = "INT",         ['J'] = "BININT",
        ['K'] = "BININT1",     ['L'] = "LONG",
        ['M'] = "BININT2",     ['N'] = "NONE",
        ['P'] = "PERSID",      ['Q'] = "BINPERSID",
        ['R'] = "REDUCE",      ['S'] = "STRING",
        ['T'] = "BINSTRING",   ['U'] = "SHORT_BINSTRING",
        ['V'] = "UNICODE",     ['X'] = "BINUNICODE",
        [']'] = "EMPTY_LIST",  ['a'] = "APPEND",
        ['b'] = "BUILD",       ['c'] = "GLOBAL",
        ['d'] = "DICT",        ['e'] = "APPENDS",
        ['g'] = "GET",         ['h'] = "BINGET",
        ['i'] = "INST",        ['j'] = "LONG_BINGET",
        ['l'] = "LIST",        ['o'] = "OBJ",
        ['p'] = "PUT",         ['q'] = "BINPUT",
        ['r'] = "LONG_BINPUT", ['s'] = "SETITEM",
        ['t'] = "TUPLE",       ['u'] = "SETITEMS",
        ['}'] = "EMPTY_DICT",
    };
    static const char *const high[] = {
        "PROTO",
        "NEWOBJ",
        "EXT1",
        "EXT2",
        "EXT4",
        "TUPLE1",
        "TUPLE2",
        "TUPLE3",
        "NEWTRUE",
        "NEWFALSE",
        "LONG1",
        "LONG4",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES8",
        "EMPTY_SET",
        "ADDITEMS",
        "FROZENSET",
        "NEWOBJ_EX",
        "STACK_GLOBAL",
        "MEMOIZE",
        "FRAME",
        "BYTEARRAY8",
        "NEXT_BUFFER",
        "READONLY_BUFFER",
    };
    const char *name = NULL;
    if (op < 128)
        name = ascii[op];
    else if ((size_t)op - 128 < sizeof high / sizeof high[0])
        name = high[op - 128];
    return name != NULL ? name : "no opcode";
}

/* Words of a text: runs of letters, in lower case. */
#ifndef TALLY_WORDS_H
#define TALLY_WORDS_H

#include <stdio.h>

#define LONGEST_WORD 64

/* The next word of a file, cut off at LONGEST_WORD - 1 letters; 0 at its end. */
int next_word(FILE *file, char word[LONGEST_WORD]);

#endif

"""Plots about finding, losing, wanting too much, and one small dragon."""

from __future__ import annotations

from mlx_rev.data.bundled import words
from mlx_rev.data.bundled.grammar import read_plot

THE_OPEN_GATE = """
@opening

{He} had a little {object}, and they played together every day.
{hero} loved {his} little {object} very much.

One day, {hero} went out and forgot to close the gate.
One day, {hero} was in a hurry and left the gate open.

When {he} came back, the {object} was gone.
The little {object} walked out and did not come back.

"I left the gate open!" cried {hero}.
"What have I done?" said {hero}. "The gate!"

{He} asked the mailman. "I saw it go to the {place}," said the mailman.
"Have you seen my {object}?" {he} asked. "It ran to the {place}," said the mailman.

--
So {hero} ran to the {place} and called and called.
{hero} ran all the way to the {place} and looked everywhere.

? It was getting dark, and nothing moved.
? At first it was very quiet.

Then {he} heard a small sound behind some old boards.
At last {he} saw two eyes behind a pile of wood.

{hero} carried the {object} home from the {place} in {his} arms. \
{He} never forgot to close the gate again.
All the way home from the {place}, {hero} held the {object} in {his} arms. \
The first thing {he} did was to close the gate.
"""

THE_FINDER = """
@opening

One day, {he} found a gold {object} at the {place}.
One day, {hero} was at the {place} and saw a gold {object} on the ground.

It was the most beautiful thing {he} had ever seen.
It was shiny, and {he} wanted to keep it.

But {hero} thought, "Someone has lost this and is sad."
"It is not mine," {he} thought. "I must find out who lost it."

{He} asked a man with a dog. "Is this your {object}?" The man said no.
{He} asked all the people. "Is this your {object}?" But they all said no.

? {hero} did not give up.
? The sun was going down.

--
Then {hero} saw an old woman who was looking for something at the {place}.
At last {hero} came back to the {place} and met an old woman who was crying.

"Did you lose this?" asked {hero}. "Oh, yes! I have looked all day!"
"Is it yours?" asked {hero}. "Yes! My mother gave it to me!"

The old woman took the gold {object} and thanked {hero} again and again. \
{hero} went home from the {place} with empty hands and a full heart.
The old woman held the gold {object} in both hands and called {hero} a good {boy}. \
{hero} was happy all the way home from the {place}.
"""

THE_LITTLE_DRAGON = """
@opening

{He} had a friend, a little dragon who lived near the {place}.
Near the {place} lived a little dragon. It was {hero}'s friend.

The dragon was sad, for its fire was very small.
The other dragons laughed at its very small fire.

"I am no use to anyone," said the dragon.
"I will never be a real dragon," it said.

One dark night near the {place}, {hero} wanted to light {his} {object}, but {he} could not.
One night, there was a storm over the {place}, and {hero} could not light {his} {object}.

--
"I know who can help me," {he} thought, and {he} ran to the dragon.
So {he} took the {object} and went to find the dragon.

"Can you light my {object}?" asked {hero}.
"Please light this {object} for me," said {hero}.

"A big fire would burn it," {he} said, "but your fire is just right."
"We do not need a big fire," {he} said. "We need a small one."

? The dragon was so proud that it forgot to be sad.
? The dragon took a deep breath.

The little dragon lit {hero}'s {object}, and there was light all over the {place}. \
After that, nobody laughed at its small fire.
Soon {hero}'s {object} was burning well. \
"You are the best dragon near the {place}!" {he} said.
"""

ALL_OF_IT = """
@opening

One day, {his} mother made {a_object}. "Wait for {friend}," said {his} mother.
{His} mother made {a_object} for {him} and {friend}. "Wait for {friend}," said {his} mother.

But the {object} smelled so good.
{hero} sat down and looked at the {object}.

"I will take one small bite," said {hero}.
{He} took one bite, and then one more.

? It was very good.
? "Only one more," {he} told {himself}.

Soon the plate was empty.
Bite by bite, {hero} ate it all.

Then {his} tummy began to hurt.
Now {he} was too full, and {his} tummy hurt.

--
There was a knock at the door. "I am hungry!" said {friend}. "Where is the {object}?"
Just then, {friend} came in. "I have waited all day for the {object}!" {f_he} said.

{hero} looked at the floor. "I ate it," {he} said. "I am sorry."
{His} face turned red. "It is gone," {he} said. "I could not stop."

{friend} gave {him} some tea for {his} tummy. \
"Next time I will save you half of the {object}," said {hero}.
{hero} had eaten the whole {object}, and it was not fun at all. \
Next time, {he} would wait for {friend}.
"""

PLOTS = (
    read_plot(
        "the open gate", THE_OPEN_GATE, words.PETS, ("barn", "garden", "meadow", "market", "farm")
    ),
    read_plot("the finder", THE_FINDER, words.GOLDEN, ("park", "beach", "market", "library")),
    read_plot(
        "the little dragon", THE_LITTLE_DRAGON, words.LIGHTS, (*words.WATER, "forest", "hill")
    ),
    read_plot("all of it", ALL_OF_IT, words.WHOLE),
)

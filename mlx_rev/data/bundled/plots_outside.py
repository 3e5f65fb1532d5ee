"""Plots that happen under the open sky."""

from __future__ import annotations

from mlx_rev.data.bundled import words
from mlx_rev.data.bundled.grammar import read_plot

STUCK_IN_THE_TREE = """
@opening

One day, {he} took {his} new {object} to the {place}.
One sunny day, {hero} went to the {place} to play with {his} new {object}.

{He} threw it high, and it flew up and up.
It was fun to throw it up into the sky.

But a strong wind came, and the {object} got stuck in a tall tree.
Then the wind blew hard and carried the {object} into a tall tree.

{He} jumped and jumped, but the branch was too high.
{hero} tried to climb, but the tree was too big for {him}.

? {He} sat down on the grass and felt very sad.
? "Oh no!" cried {hero}. "I will never get it back."

--
Then {friend} came to the {place} with a long stick. "Do not worry," {f_he} said. "I can help you."
{friend} saw {him} in the {place} and ran to get a long stick. "I can help you," {f_he} said.

{friend} stood on {f_his} toes and pushed the branch until the {object} fell down.
{f_He} pushed the branch with the stick, and down came the {object}.

{hero} thanked {friend} for getting the {object} out of the tree. \
They played together in the {place} until dinner.
"Thank you, {friend}!" said {hero}. They played with the {object} in the {place} all day, \
far away from the tree.
"""

ACROSS_THE_WATER = """
@opening

{He} had made {a_object} out of wood.
{hero} had a little {object} made of wood.

One warm day, {he} put the {object} on the {place} and watched it float.
On a warm morning, {hero} took the {object} to the {place} and put it on the water.

It floated very well, and {hero} clapped {his} hands.
At first it stayed close to {him}.

But then the wind pushed it far out on the water.
Then the wind blew, and soon the {object} was too far away to reach.

"Come back!" called {hero}, but {he} knew {he} must not go into the deep water.
{hero} could not swim, so {he} sat down and called for help.

--
A brown duck heard {him} and came to see.
"Quack, quack!" said a brown duck. It had seen everything.

The duck swam behind the {object} and pushed it all the way back.
It swam out to the {object} and pushed it back, bit by bit.

{hero} picked up the {object} and gave the kind duck some bread. \
The duck swam home across the {place}, full and happy.
"Thank you, duck," said {hero}. After that day, {he} always tied a long string to the {object} \
when it sailed on the {place}.
"""

BUILT_OF_SAND = """
@opening

One hot day, {he} went to the sea with {friend}.
One hot day, {hero} and {friend} went to the sea.

They wanted to build {a_object} of sand.
"Let us build {a_object} of sand," said {friend}.

They worked for a long time and put white shells on the top.
They filled their buckets again and again, and the {object} grew tall.

Then a big wave came and washed the {object} away.
But a big wave rolled in, and then the {object} was gone.

? {friend} looked at the wet sand and wanted to cry.
? "All our work is gone!" cried {friend}.

--
"We were too close to the water," said {hero}. "Let us try again."
{hero} thought for a while. "The waves can not reach the dry sand," {he} said.

So they took their buckets and moved away from the water.
They carried their buckets up to the dry sand and began again.

{hero} and {friend} built the second {object} far from the waves. \
It was still there when the sun went down.
No wave could reach the new {object} that {hero} and {friend} had built. \
They waved goodbye to it when they went home.
"""

THE_SNOWMAN = """
@opening

One winter day, {he} made a big snowman with {parent}.
It had snowed all night, so {hero} and {parent} made a big snowman.

It had two stones for eyes and a stick for a nose.
They used stones for its eyes and a stick for its nose.

"The snowman looks cold," said {hero}.
{hero} thought that the snowman looked cold.

So {he} ran to get {his} old {object} and put it on the snowman.
{He} found {his} old {object} and put it on the snowman.

"Now it will be warm," said {parent}.
"That is very kind of you," said {parent}.

--
Then spring came, and the sun grew warm.
But every day the sun was a little warmer, and soon it was spring.

One morning, {hero} went outside, and there was no snowman.
{hero} ran out to see the snowman, but it was gone.

? {He} felt sad, for the snowman had been {his} friend.
? "Where is my snowman?" {he} asked.

The snowman had melted, but {hero} found the {object} in the wet grass. \
"It will come back with the snow," said {parent}.
"The snowman left you your {object}, and it will be back next winter," said {parent}. \
{hero} smiled and began to wait.
"""

ONE_SEED = """
@opening

{He} wanted to grow {a_object} in the {place}.
{hero} had a wish. {He} wanted to grow {a_object} in the {place}.

{parent} gave {him} one small seed. "Take good care of it," {p_he} said.
{parent} put one small seed in {his} hand. "This is all you need," {p_he} said.

{hero} dug a hole, put the seed in it, and gave it water.
{hero} put the seed into the ground and gave it some water.

The next day {he} ran out to look, but there was no {object} in the {place}.
The next morning {he} looked for the {object}, but there was nothing to see in the {place}.

? "It will never grow," said {hero}.
? {hero} sat down beside it and felt sad.

--
"A good {object} takes time," said {parent}.
"You must wait a little," said {parent}. "The {object} grows where you can not see it."

So every day {hero} went to the {place} and gave it water.
So every morning {hero} brought water to the {place}.

After many days, a green leaf of the {object} came up, and then another.
Then one day, the first green leaf of the {object} looked out of the ground.

At the end of summer, there was a big {object} in the {place}. \
{hero} had grown it from one seed, and {parent} was proud of {him}.
{parent} came to the {place} to see the big {object}. \
"I waited, and it grew from one small seed!" said {hero}.
"""

LEARNING_TO_RIDE = """
@opening

One morning, {parent} gave {him} a new {object}.
On {his} birthday, {hero} got a new {object} from {parent}.

"I want to ride it all the way to the {place}!" said {hero}.
{hero} wanted to ride it to the {place}, but {he} did not know how.

{He} got on, rolled a little way, and fell on the grass.
First {he} went too slow, then {he} went too fast, and then {he} fell.

? "It is too hard," {he} said.
? {He} hurt {his} knee and wanted to stop.

"Everyone falls at first," said {parent}. "Try again."
{parent} helped {him} up. "If you fall, you get up and try again," {p_he} said.

--
So {hero} got back on the {object}, and {parent} ran beside {him}.
So {hero} tried again, and {parent} held the {object} with one hand.

Every day they came a little nearer to the {place}.
They did it again every day after school, on the road to the {place}.

Then one day {parent} let go of the {object}, and {hero} did not fall.
One day {hero} looked back and saw that {parent} had let go of the {object}.

{hero} rode the {object} all the way to the {place}, and {parent} clapped. \
{hero} had fallen many times, but {he} had always tried again.
"You did it!" called {parent} when {hero} rode to the {place}. \
Now {hero} could ride the {object} without any help.
"""

STUCK_IN_THE_MUD = """
@opening

One wet day, {he} was walking home with {friend}.
One day after the rain, {hero} and {friend} were walking home.

On the road they saw a farmer. A big {object} was stuck in the mud.
They met a farmer on the road. The farmer's {object} was stuck in deep mud.

The wheels turned and turned, but the {object} did not move.
The farmer pushed, but the {object} was too heavy.

"Can we help?" asked {hero}.
"{friend} and I want to help," said {hero}.

The farmer laughed. "You are very small," said the farmer.
"You are too little," said the farmer.

--
But {hero} had an idea. "Let us put stones under the wheels," {he} said.
But {hero} thought hard. "The wheels need something dry under them," {he} said.

So {hero} and {friend} looked for flat stones and put them in the mud.
{friend} found flat stones, and {hero} put them under the wheels.

Then {hero}, {friend}, and the farmer pushed, one, two, three!
{hero} and {friend} counted to three and pushed as hard as they could.

The {object} came out of the mud, and the farmer gave {hero} and {friend} a ride home. \
"Small friends can be a big help," said the farmer.
The farmer drove the {object} out of the mud and thanked {hero} and {friend}. \
It was {hero}'s good idea that had helped.
"""

THE_HURT_ANIMAL = """
@opening

One day, {he} went for a walk in the {place} with {parent}.
One day, {hero} and {parent} were walking in the {place}.

{He} heard a soft cry under a bush.
There was a soft cry, and {hero} stopped to look.

It was a little {object}, and its leg was hurt.
{He} saw a little {object} that could not walk.

"Do not be afraid," {he} said. "We will help you."
"Poor little thing!" said {hero}. "Can we take it home?"

{parent} carried it home and put a clean cloth around its leg.
They took it home, and {parent} put a clean cloth around its leg.

--
Every day {hero} gave it food and water.
{hero} made a soft bed for it and gave it food every day.

? Soon the {object} was not afraid of {him} at all.
? The {object} liked to sleep in {his} arms.

After two weeks, its leg was well. "Now it wants to go back to the {place}," said {parent}.
"Its leg is well now," said {parent} one morning. "The {place} is its home."

{hero} opened {his} arms, and the {object} went back to its home in the {place}. \
"You took good care of it," said {parent}.
{hero} was a little sad and very glad when the {object} went home to the {place}. \
{parent} held {his} hand, and they waved goodbye.
"""

PLOTS = (
    read_plot("stuck in the tree", STUCK_IN_THE_TREE, words.FLYING, words.GREEN),
    read_plot("across the water", ACROSS_THE_WATER, words.BOATS, words.WATER),
    read_plot("built of sand", BUILT_OF_SAND, words.SAND),
    read_plot("the snowman", THE_SNOWMAN, words.CLOTHES),
    read_plot("one seed", ONE_SEED, words.PLANTS, ("garden", "field", "yard", "meadow")),
    read_plot("learning to ride", LEARNING_TO_RIDE, words.RIDES, (*words.TRIPS, "lake")),
    read_plot("stuck in the mud", STUCK_IN_THE_MUD, words.VEHICLES),
    read_plot(
        "the hurt animal", THE_HURT_ANIMAL, words.WILD, ("forest", "park", "meadow", "field")
    ),
)

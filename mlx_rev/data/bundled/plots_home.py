"""Plots that happen at home, with a parent or a grandparent."""

from __future__ import annotations

from mlx_rev.data.bundled import words
from mlx_rev.data.bundled.grammar import read_plot

RAINY_PICNIC = """
@opening

One day, {he} wanted to have a picnic with {parent}.
All week long, {hero} and {parent} had talked about a picnic.

They made a big {object} and put it in a bag.
{parent} made a big {object}, and {hero} put it in a bag.

But when they opened the door, it began to rain.
But then dark clouds came, and it began to rain.

"Now we can not have our picnic," said {hero}.
{hero} looked out of the window and wanted to cry.

? They waited and waited, but it did not stop.
? The rain fell harder and harder.

--
Then {parent} had an idea. "We can have our picnic right here," {p_he} said.
{parent} smiled. "A picnic does not have to be outside," {p_he} said.

So they put a green cloth on the floor and sat down on it.
{hero} put a green cloth on the floor, and {parent} brought two plates.

Then {hero} and {parent} ate the {object} on the floor while the rain fell outside. \
It was the best picnic they had ever had.
"I like rain now," said {hero}, for the {object} tasted good and the floor was dry. \
{parent} said they should always have a picnic inside.
"""

SALT_AND_SUGAR = """
@opening

One day, {he} wanted to bake {a_object} for {parent}.
{hero} loved to cook. One day, {he} made {a_object} for {parent}.

{He} put flour, eggs, and milk into a bowl.
{He} took a big bowl and put in flour and milk.

Then {he} took some sugar from a white jar, or so {he} thought.
There were two white jars, and {hero} took the wrong one.

When it was done, the {object} looked very good.
Soon the {object} was done, and it smelled good.

{parent} took one bite and made a funny face.
But when {parent} took a bite, {p_he} made a funny face.

? "Is it bad?" asked {hero}.
? {parent} drank a big glass of water.

--
{hero} tasted it too. "Oh no!" {he} said. "I used salt!"
Then {hero} took a bite. "This is not sugar!" {he} cried. "It is salt!"

{parent} was not angry. "Let us make it again together," {p_he} said.
"Everyone makes mistakes," said {parent}. "Let us try again."

The second {object} was sweet, and {hero} and {parent} ate every bit of it. \
{hero} never mixed up the salt and the sugar again.
{parent} ate two big pieces of the second {object}. \
After that day, {hero} always tasted the sugar first.
"""

IN_THE_SHOE = """
@opening

{He} had a shiny {object}. It was a present from {parent}.
{parent} had given {him} a shiny {object}, and {he} loved it.

But one morning, {hero} could not find the {object}.
One morning, {hero} woke up, and the {object} was gone.

{He} looked under the bed and behind the door.
{He} looked in every corner of {his} room.

"I have lost it!" cried {hero}.
"I can not find it anywhere," said {hero}.

? {parent} looked too, but {p_he} could not find it.
? {He} even looked in the sink.

--
"Put on your shoes," said {parent}. "We will look outside."
"Maybe it is outside," said {parent}. "Put on your shoes."

{hero} put {his} foot into {his} left shoe. "Ouch!" {he} said.
{hero} sat down and put on one shoe. Something in it was hard.

The {object} had been in {hero}'s shoe all the time. \
{parent} laughed, and then they both laughed.
{hero} turned the shoe over, and out fell the {object}. \
"Next time we will look there first," said {parent}.
"""

THE_NOISE_AT_NIGHT = """
@opening

One night, {he} heard a strange noise. It came from the {place}.
One night, {hero} woke up. There was a strange noise in the {place}.

"It must be a monster," {he} thought.
Bump, bump, bump! It sounded like a monster.

{He} was so afraid that {he} called for {parent}.
{hero} ran to wake {parent}. "There is a monster!" {he} said.

"Let us go and see," said {parent}, and {p_he} took {his} hand.
{parent} took {his} hand. "Monsters are not real," {p_he} said. "Come, I will show you."

--
They walked to the {place}, and {parent} opened the door.
Step by step they went to the {place}. {parent} opened the door.

? {hero} held {his} breath.
? Two round eyes looked at them in the dark.

There sat a little {object}, and it was looking for food.
It was only a little {object}. It had come in from the cold.

{hero} laughed, for the monster in the {place} was only a hungry {object}. \
{parent} gave it some food, and they went back to bed.
"You are a very small monster," {hero} told the {object}. \
{parent} laughed, and {hero} was not afraid of the {place} any more.
"""

NOT_WITHOUT_IT = """
@opening

{He} never went to sleep without {his} {object}.
Every night {hero} went to sleep with {his} {object} in {his} arms.

One night, {hero} got into bed, but the {object} was not there.
But one night, {he} could not find the {object}.

"I can not sleep without it!" {he} told {parent}.
{He} called {parent}. "I can not sleep!" {he} said.

"Where did you have it last?" asked {parent}.
{parent} sat down on the bed. "Think hard," {p_he} said. "Where did you go today?"

{hero} thought for a while. "We were at the {place}," {he} said.
"At the {place}!" said {hero}. "I left it there."

--
So {parent} put on {p_his} boots and went out into the night.
{parent} took a light and went out into the dark.

? {hero} waited at the window and looked at the moon.
? It was a long time to wait.

At last the door opened. "Look what I found at the {place}," said {parent}.
Then {hero} heard the door. "Here it is," said {parent}.

{parent} had gone all the way to the {place} to find the {object}. \
{hero} put {his} cheek on it and was asleep at once.
With the {object} back from the {place}, {hero} closed {his} eyes. \
{parent} said good night, but {hero} was already asleep.
"""

THE_BIRTHDAY = """
@opening

{parent}'s birthday was coming, and {he} wanted to give {p_him} {a_object}.
{hero} wanted to give {parent} {a_object} on {p_his} birthday.

But {he} had no money.
But {his} money jar was empty.

So {he} washed windows and fed chickens for the people next door.
So {hero} went from door to door and asked for work.

Every evening {he} put a few coins for {parent} into {his} jar.
Day after day {he} worked for {parent}, and {his} jar filled with coins.

? {He} did not tell {parent} about it.
? It was hard to keep it a secret.

--
When the jar was full, {hero} went to the store and bought the {object} for {parent}.
At last {he} had enough, and {he} ran to the store to buy the {object} for {parent}.

Then the day came. "Close your eyes," {hero} said to {parent}.
"Happy birthday, {parent}!" said {hero}. "Close your eyes!"

{parent} opened {p_his} eyes, saw the {object}, and hugged {hero}. \
"You worked hard for this, and I will always keep it," {p_he} said.
"This is the best birthday present of all," said {parent} with the {object} in {p_his} hands. \
{hero} was proud, for {he} had paid for it with {his} own coins.
"""

THE_BLUE_SPOT = """
@opening

{parent} had made {him} a new {object}.
{parent} worked all week to make a new {object} for {him}.

One day, {hero} was painting a picture beside it.
One day, {hero} sat beside the {object} and painted a picture.

{He} turned around too fast, and a jar of blue paint fell over.
{His} arm hit a jar of blue paint, and it fell over.

Now there was a big blue spot on the {object}.
The blue paint ran all over the {object}.

? {hero} wanted to hide.
? {He} tried to wash it off, but it did not help.

--
{He} went to {parent}. "I am sorry," {he} said. "I spilled the paint."
{hero} called {parent}. "I am so sorry," {he} said. "I was not careful."

{parent} looked at the blue spot. "It looks like a flower," {p_he} said.
{parent} thought for a while. "I see a blue flower," {p_he} said.

Then {p_he} got two brushes, and they painted more flowers.
{parent} gave {him} a brush, and they painted red and yellow flowers around it.

Soon there were flowers all over the {object}, and everyone loved it. \
Only {hero} and {parent} knew that the first flower was a mistake.
{hero} and {parent} liked the {object} with flowers better than before. \
"The blue one is still the best," said {parent}.
"""

TOO_LOUD = """
@opening

{He} got a new {object} and played it all day.
{hero} had a new {object}. {He} played it in the morning and in the evening.

It was very loud.
{He} was not very good yet, and it was very loud.

One day, the noise woke the baby, and the baby cried and cried.
One day, the baby woke up and began to cry.

"Please stop," said {parent}. "The baby must sleep."
{parent} came in. "The baby can not sleep," {p_he} said.

{hero} was sorry, but {he} loved the {object}.
"But I want to play my {object}," said {hero}.

--
{parent} thought for a while. "You need another place to play," {p_he} said.
{parent} smiled. "We must find you another place," {p_he} said.

So {hero} took the {object} to the {place}.
So {parent} and {hero} went to the {place}.

? {He} played as loud as {he} could.
? It was far away from the house.

After that, {hero} played the {object} in the {place}, and the baby slept well. \
{parent} often came to listen.
In the {place}, nobody was too loud. {hero} played the {object} there every day, \
and {parent} and the baby could sleep.
"""

PLOTS = (
    read_plot("rainy picnic", RAINY_PICNIC, words.PICNIC),
    read_plot("salt and sugar", SALT_AND_SUGAR, words.BAKED),
    read_plot("in the shoe", IN_THE_SHOE, words.POCKET),
    read_plot("the noise at night", THE_NOISE_AT_NIGHT, words.NIGHT, (*words.ROOMS, "kitchen")),
    read_plot("not without it", NOT_WITHOUT_IT, words.SOFT, words.TRIPS),
    read_plot("the birthday", THE_BIRTHDAY, words.GIFTS),
    read_plot("the blue spot", THE_BLUE_SPOT, words.FURNITURE),
    read_plot("too loud", TOO_LOUD, words.MUSIC, ("barn", "garage", "cellar")),
)
